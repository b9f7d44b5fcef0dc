"""Copy the examples that the gallery runs to folders of their own, one for each section.

``examples/`` also holds scripts that are only shown, and the benchmarks, whose README
sphinx-gallery would take for the heading of a section. So the gallery reads copies of
``plot_*.py``. The pages that it writes show their pictures first, before the code that draws them,
and their thumbnails show the first panel of a picture with several.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

HEADER = "GALLERY_HEADER.rst"


class Section(NamedTuple):
    """A section of the gallery: its heading, and its examples in the order of their cards."""

    heading: str
    names: tuple[str, ...]


# The sections in their order, by the names of their folders.
SECTIONS = {
    "start": Section(
        "From data to a model",
        ("first_network", "classification", "regression", "search", "tables", "churn"),
    ),
    "inside": Section(
        "What a network learns",
        ("decision_boundaries", "hidden_units", "learning_curves", "same_as_scikit_learn"),
    ),
    "training": Section(
        "Training and regularization",
        ("overfitting", "early_stopping", "learning_rates", "deep_networks", "ensembles"),
    ),
    "targets": Section(
        "Losses and targets",
        ("imbalanced_classes", "robust_losses", "quantile_bands"),
    ),
    "practice": Section(
        "Comparing, watching, large data",
        ("compare_models", "callbacks", "tensorboard", "out_of_core"),
    ),
}
# Pictures that are wider than this, relative to their height, have several panels.
WIDE = 1.8
PANELS = "_pictures/panels"


def name_of(filename: str) -> str:
    """Return the name of an example, without the ends of its file's name."""
    return filename.removeprefix("plot_").removesuffix(".py")


def section_of(filename: str) -> str:
    """Return the folder of a script in the gallery. The last section has those that none names."""
    folders = [f for f, section in SECTIONS.items() if name_of(filename) in section.names]
    return folders[0] if folders else list(SECTIONS)[-1]


def place_of(filename: str) -> tuple[int, str]:
    """Return the sort key of a script in its section. Others come last, sorted by name."""
    names, name = SECTIONS[section_of(filename)].names, name_of(filename)
    return (names.index(name) if name in names else len(names)), name


def stage(sources: dict[str, str], directory: Path) -> None:
    """Make a directory hold these texts under these names and no other files.

    A file that already has the right text is not written, so that a build finds it unchanged.
    """
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        if old.is_file() and old.name not in sources:
            old.unlink()
    for name, text in sources.items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _stage_examples(app, config) -> None:
    docs = Path(app.srcdir)
    header = (docs / "_templates" / HEADER).read_text(encoding="utf-8")
    stage({HEADER: header}, docs / "_examples")
    by_folder: dict[str, dict[str, str]] = {
        folder: {HEADER: f"{section.heading}\n{'-' * len(section.heading)}\n"}
        for folder, section in SECTIONS.items()
    }
    for path in docs.parent.glob("examples/plot_*.py"):
        by_folder[section_of(path.name)][path.name] = path.read_text(encoding="utf-8")
    for folder, sources in by_folder.items():
        stage(sources, docs / "_examples" / folder)


# A picture, or several beside each other, in a page that sphinx-gallery has written.
_PICTURE = re.compile(
    r"^\.\. rst-class:: sphx-glr-horizontal\n\n(?:\n|^ .*\n|^\.\. image-sg.*\n)+?(?=^\S)"
    r"|^\.\. image-sg:: .*\n(?:^   :.*\n)+",
    re.MULTILINE,
)
_FIRST_CODE = ".. GENERATED FROM PYTHON SOURCE LINES"


def pictures_first(page: str) -> str:
    """Return the text of an example's page with its pictures before its first code.

    The text of the example's docstring stays at the top.
    """
    pictures = [match[0] for match in _PICTURE.finditer(page)]
    rest = _PICTURE.sub("", page)
    intro, mark, code = rest.partition(_FIRST_CODE)
    return "\n".join([intro, *pictures, f"{mark}{code}"]) if pictures else page


def _move_pictures(app, docname: str, source: list[str]) -> None:
    if re.match(r"auto_examples/\w+/plot_", docname):
        source[0] = pictures_first(source[0])


def scraper(block, block_vars, gallery_conf):
    """Save the figures as sphinx-gallery does, and the first panel of a wide one beside them."""
    import matplotlib.pyplot as plt
    from matplotlib.transforms import Bbox
    from sphinx_gallery.scrapers import matplotlib_scraper

    for number in plt.get_fignums()[:1]:
        figure = plt.figure(number)
        width, height = figure.get_size_inches()
        if width > WIDE * height:
            figure.canvas.draw()
            box = figure.axes[0].get_tightbbox().transformed(figure.dpi_scale_trans.inverted())
            path = panel_of(Path(block_vars["src_file"]), gallery_conf)
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, bbox_inches=Bbox(box.padded(0.1)), dpi=150)
    return matplotlib_scraper(block, block_vars, gallery_conf)


def panel_of(script: Path, gallery_conf) -> Path:
    """Return the file that holds the first panel of a script's picture."""
    return Path(gallery_conf["src_dir"]) / PANELS / f"{script.stem}.png"


def _use_panels(app) -> None:
    """Make thumbnails of the first panels."""
    from sphinx_gallery.utils import scale_image

    size = app.config.sphinx_gallery_conf["thumbnail_size"]
    for panel in (Path(app.srcdir) / PANELS).glob("*.png"):
        for thumb in Path(app.srcdir).glob(f"auto_examples/*/images/thumb/*{panel.stem}_thumb.png"):
            scale_image(str(panel), str(thumb), *size)


def setup(app) -> dict[str, bool]:
    """Copy the examples before sphinx-gallery reads them, and change what it has made."""
    app.connect("config-inited", _stage_examples, priority=1)
    app.connect("builder-inited", _use_panels, priority=900)
    app.connect("source-read", _move_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
