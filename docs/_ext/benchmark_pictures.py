"""Draw pictures of the tables on the benchmarks' page, so that both show the same numbers.

The directive ``benchmark-pictures`` shows the pictures that it names, if their tables have numbers:
one for light pages and one for dark ones.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FOLDER = "_pictures"
README = Path(__file__).resolve().parents[2] / "examples" / "benchmarks" / "README.md"
# The colours of the text, and of the two series of bars.
THEMES = {"light": ("#222832", "#176de8", "#9cc5ff"), "dark": ("#ced6dd", "#66a3ff", "#2b5a9e")}


class Bars(NamedTuple):
    """A picture of ratios: a bar for each series, in groups that have a name.

    Attributes
    ----------
    title : str
        The text above the bars.
    description : str
        The text in place of the picture.
    groups : dict of str to list of float or None
        The ratios of each group, one for each series. None is a ratio that was not measured.
    series : tuple of str
        The names of the series.
    """

    title: str
    description: str
    groups: dict[str, list[float | None]]
    series: tuple[str, ...]


def rows_of(name: str, text: str) -> list[dict[str, str]]:
    """Return the rows of a benchmark's table, which stands between markers, by column."""
    table = re.search(rf"<!-- {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    lines = re.findall(r"^\| (.*) \|$", table[1], re.MULTILINE) if table else []
    heading, *rows = [line.split(" | ") for line in lines] or [[]]
    return [dict(zip(heading, row, strict=True)) for row in rows[1:]]  # the first is the rule


def number(cell: str) -> float | None:
    """Return the number in a cell, or None for one that was not measured."""
    return None if cell == "-" else float(cell.rstrip("~").replace(",", ""))


def steps(text: str) -> Bars | None:
    """Return the picture of the time of a training step, or None without measurements."""
    groups: dict[str, list[float | None]] = {}
    dtypes = ("float32", "float64")
    for row in rows_of("steps", text):
        usual = row["rows"] == "dense" and row["solver"] == "adam" and float(row["batch"]) <= 256
        if usual and row["dtype"] in dtypes:
            groups.setdefault(row["network"], []).append(number(row["/ scikit-learn"]))
    title = "Time of a training step (MLPClassifier = 1)"
    description = (
        "Bars of the time of a training step as a share of that of MLPClassifier, for "
        f"{len(groups)} networks in float32 and float64"
    )
    return Bars(title, description, groups, dtypes) if groups else None


def tables(text: str) -> Bars | None:
    """Return the picture of the errors on tables, or None without measurements."""
    peers = {"MLP": "MLP = 1", "trees": "boosted trees = 1"}
    groups = {
        row["data"]: [number(row[f"/ {peer}"]) for peer in peers]
        for row in rows_of("tabular", text)
        if row["what"] in ("error", "RMSE")
    }
    title = "Error of tabular_pipeline on tables"
    description = (
        "Bars of the error of tabular_pipeline as a share of that of scikit-learn's MLP and of "
        f"boosted trees, for {len(groups)} tables"
    )
    return Bars(title, description, groups, tuple(peers.values())) if groups else None


# The features that a picture shows. The others cost less, or as much as one of these.
FEATURES = (
    *("sample_weight", "label_smoothing", "focal", "loss of your own", "dropout", "max_grad_norm"),
    *("cosine", "torch.optim.Adam", "leaky_relu", "elu", "gelu", "mish", "modules of your own"),
    *("layer normalization", "batch normalization"),
)


def features(text: str) -> Bars | None:
    """Return the picture of the cost of features, or None without measurements."""
    columns = {"64-100-10": "float32", "64-100-10, float64": "float64"}
    groups = {
        row["feature"]: [number(row[column]) for column in columns]
        for row in rows_of("features", text)
        if row["feature"] in FEATURES
    }
    title = "Time of a training step of 64-100-10 (plain step = 1)"
    description = (
        f"Bars of the time of a training step with one of {len(groups)} features as a multiple of "
        "that of a plain step, in float32 and float64"
    )
    return Bars(title, description, groups, tuple(columns.values())) if groups else None


def members(text: str) -> Bars | None:
    """Return the picture of the time of an ensemble, or None without measurements."""
    groups: dict[str, list[float | None]] = {}
    for row in rows_of("members", text):
        if row["members"] == "8":
            groups.setdefault(row["network"], []).append(number(row["/ turns"]))
    title = "Time of n_members=8 (eight fits in turn = 1)"
    description = (
        "Bars of the time of a fit of eight members as a share of that of eight fits, for "
        f"{len(groups)} networks in float32 and float64"
    )
    return Bars(title, description, groups, ("float32", "float64")) if groups else None


def processes(text: str) -> Bars | None:
    """Return the picture of the time of a step in two processes, or None without measurements."""
    groups = {row["network"]: [number(row["/ 1 process"])] for row in rows_of("processes", text)}
    title = "Time of a training step in two processes"
    description = (
        "Bars of the time of a training step in two processes as a multiple of that in one, for "
        f"{len(groups)} networks"
    )
    return Bars(title, description, groups, ("one process = 1",)) if groups else None


PICTURES = {
    "steps": steps,
    "tables": tables,
    "features": features,
    "members": members,
    "processes": processes,
}


def drawn(bars: Bars, theme: str) -> str:
    """Return the picture as SVG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink, *colours = THEMES[theme]
    style: dict[str, Any] = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), ink
    )
    # With a salt of its own, equal pictures are equal files.
    with mpl.rc_context({**style, "svg.hashsalt": "sknn", "font.size": 9}):
        height = 1.1 + 0.34 * len(bars.groups)
        figure = Figure(figsize=(5, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        share = 0.74 / len(bars.series)  # of the height of a group, for one bar and its margin
        for i, (name, colour) in enumerate(zip(bars.series, colours, strict=False)):
            found = [(j, r[i]) for j, r in enumerate(bars.groups.values()) if r[i] is not None]
            places = [j + share * (i - (len(bars.series) - 1) / 2) for j, _ in found]
            lengths = [r for _, r in found]
            drawn_bars = axes.barh(places, lengths, 0.95 * share, color=colour, label=name)
            axes.bar_label(drawn_bars, fmt="%.2f", padding=2, color=ink, fontsize=7)
        axes.axvline(1, color=ink, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(bars.groups)), bars.groups)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(bars.title, fontsize=10)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


class BenchmarkPictures(SphinxDirective):
    """Show the pictures that the arguments name and the tables have numbers for."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(README))
        box = nodes.container(classes=["benchmark-pictures"])
        found = available()
        for name in self.arguments[0].split():
            if name not in PICTURES:
                raise self.error(f"There is no picture {name!r}, only {', '.join(PICTURES)}.")
            for theme in THEMES if name in found else ():
                box += nodes.image(
                    uri=f"/{FOLDER}/{name}-{theme}.svg",
                    alt=found[name].description,
                    classes=[f"only-{theme}"],
                )
        return [box]


def available() -> dict[str, Bars]:
    """Return the pictures whose tables have numbers, by name."""
    text = README.read_text(encoding="utf-8")
    found = {name: picture(text) for name, picture in PICTURES.items()}
    return {name: bars for name, bars in found.items() if bars is not None}


def _draw(app, config) -> None:
    from gallery_sources import stage

    files = {f"{n}-{t}.svg": drawn(bars, t) for n, bars in available().items() for t in THEMES}
    stage(files, Path(app.srcdir) / FOLDER)


def setup(app) -> dict[str, bool]:
    """Draw the pictures before Sphinx looks for them."""
    app.connect("config-inited", _draw)
    app.add_directive("benchmark-pictures", BenchmarkPictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
