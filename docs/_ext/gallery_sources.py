"""Copy the examples that the gallery runs to a directory of their own.

``examples/`` also holds scripts that are only shown, and the benchmarks, whose README
sphinx-gallery would take for the heading of a section. So the gallery reads copies of
``plot_*.py``.
"""

from __future__ import annotations

from pathlib import Path

HEADER = "GALLERY_HEADER.rst"

# The gallery's order, for reading from start to end. Other examples come last, sorted by name.
ORDER = (
    "first_network",
    "classification",
    "regression",
    "search",
    "compare_models",
    "same_as_scikit_learn",
    "decision_boundaries",
    "hidden_units",
    "learning_curves",
    "overfitting",
    "learning_rates",
    "deep_networks",
    "imbalanced_classes",
    "early_stopping",
    "robust_losses",
    "quantile_bands",
    "callbacks",
    "tensorboard",
    "out_of_core",
)


def place_of(filename: str) -> tuple[int, str]:
    """Return the sort key of a script in the gallery."""
    name = filename.removeprefix("plot_").removesuffix(".py")
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def stage(sources: dict[str, str], directory: Path) -> None:
    """Make a directory hold these texts under these names and no other files.

    A file that already has the right text is not written, so that a build finds it unchanged.
    """
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        if old.name not in sources:
            old.unlink()
    for name, text in sources.items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _stage_examples(app, config) -> None:
    docs = Path(app.srcdir)
    paths = [docs / "_templates" / HEADER, *docs.parent.glob("examples/plot_*.py")]
    stage({path.name: path.read_text(encoding="utf-8") for path in paths}, docs / "_examples")


def setup(app) -> dict[str, bool]:
    """Copy the examples before sphinx-gallery reads them."""
    app.connect("config-inited", _stage_examples, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
