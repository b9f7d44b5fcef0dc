"""Axes, legends and colours that the displays share. matplotlib is imported when one is drawn."""

from __future__ import annotations

from types import ModuleType
from typing import Any

# These colours can be told apart with every kind of colour blindness (Okabe and Ito, 2008, "Color
# Universal Design"). In this order, neighbours differ in lightness too, so that they can be told
# apart in grey prints. Yellow is left out, because it is too light on white.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#000000", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def pyplot_for(caller: str) -> ModuleType:
    """Return the module matplotlib.pyplot.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{caller} needs matplotlib. Install it with `pip install "sknn[plot]"`, or with'
            " `pip install matplotlib`."
        ) from error
    return plt


def axes_for(ax: Any, caller: str) -> Any:
    """Return the axes to draw in: the ones that are given, or those of a new figure.

    Raises
    ------
    ValueError
        If `ax` is neither None nor axes.
    """
    plt = pyplot_for(caller)
    if ax is None:
        return plt.subplots(layout="constrained")[1]
    if not isinstance(ax, plt.Axes):
        raise ValueError(
            f"ax is {ax!r}. It must be one matplotlib.axes.Axes, such as plt.subplots() returns, or"
            " None."
        )
    return ax


def two_axes_for(axes: Any, caller: str) -> tuple[Any, Any]:
    """Return two axes to draw in: the ones that are given, or those of a new figure.

    In a new figure, the first axes are above the second.

    Raises
    ------
    ValueError
        If `axes` is neither None nor two axes.
    """
    plt = pyplot_for(caller)
    if axes is None:
        ratios = {"height_ratios": (3, 1)}
        _, axes = plt.subplots(
            2, sharex=True, figsize=(6.4, 6), layout="constrained", gridspec_kw=ratios
        )
    given = list(axes) if hasattr(axes, "__len__") else [axes]
    if len(given) != 2 or not all(isinstance(ax, plt.Axes) for ax in given):
        raise ValueError(
            f"ax is {axes!r}. With learning_rate=True, it must consist of two axes, one for the"
            " losses and one for the learning rates, such as plt.subplots(2, sharex=True) returns,"
            " or be None."
        )
    return given[0], given[1]


def right_axes_of(ax: Any, label: str) -> Any:
    """Return axes that share the horizontal axis of `ax` and have their own scale at the right.

    If an earlier picture has made axes with the same label there, they are used again, so that the
    curves of both pictures have one scale.
    """
    place = ax.get_position(original=True).bounds
    for other in ax.figure.axes:
        is_twin = ax.get_shared_x_axes().joined(ax, other)
        if other.get_label() == label and is_twin:
            if other.get_position(original=True).bounds == place:
                return other
    twin = ax.twinx()
    twin.set_label(label)
    return twin


def n_colors_taken(ax: Any) -> int:
    """Return how many of `COLORS`, from the first on, are already used by lines on axes."""
    from matplotlib.colors import to_rgba

    taken = {to_rgba(line.get_color()) for line in ax.lines}
    return next((i for i, color in enumerate(COLORS) if to_rgba(color) not in taken), 0)


def add_legend_above(ax: Any, handles: list[Any], title: str | None) -> None:
    """Put a legend above axes, where no curve can be, and keep the entries of an earlier picture.

    A legend's title is the name of the only network in it. When two legends are joined, the title
    of each is put before its entries.
    """
    from matplotlib.colors import to_rgba

    label = "sknn"
    texts = [handle.get_label() for handle in handles]
    before = ax.get_legend()
    if before is not None and before.get_label() == label:
        # matplotlib below 3.7 has another name for the handles.
        old = before.legend_handles if hasattr(before, "legend_handles") else before.legendHandles
        old_title = before.get_title().get_text()
        old_texts = [text.get_text() for text in before.get_texts()]
        pairs = [*zip(old, _named(old_title, old_texts), strict=True)]
        there = {(text, to_rgba(handle.get_color())) for handle, text in pairs}
        pairs += [
            (handle, text)
            for handle, text in zip(handles, _named(title, texts), strict=True)
            if (text, to_rgba(handle.get_color())) not in there
        ]
        handles, texts = map(list, zip(*pairs, strict=True))
        title = None
    ax.legend(
        handles,
        texts,
        title=title,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
        fontsize="small",
        frameon=False,
    ).set_label(label)


def _named(name: str | None, texts: list[str]) -> list[str]:
    return [f"{name}, {text}" for text in texts] if name else texts
