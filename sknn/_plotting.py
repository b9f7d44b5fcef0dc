"""What the pictures share: matplotlib, imported when one is drawn, and their colours."""

from __future__ import annotations

from types import ModuleType
from typing import Any

# Okabe and Ito (2008), "Color Universal Design": told apart with every kind of colour blindness. In
# this order the neighbours differ in lightness too, so that grey prints tell them apart; yellow,
# too light on white, is left out.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#000000", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def pyplot_for(caller: str) -> ModuleType:
    """matplotlib.pyplot.

    Raises
    ------
    ImportError
        If it is not installed.
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
    """The axes to draw in: those that are given, or those of a new figure."""
    plt = pyplot_for(caller)
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def two_axes_for(axes: Any, caller: str) -> tuple[Any, Any]:
    """Axes to draw in, one above the other: the two that are given, or those of a new figure.

    Raises
    ------
    ValueError
        If others than two are given.
    """
    plt = pyplot_for(caller)
    if axes is None:
        ratios = {"height_ratios": (3, 1)}
        _, axes = plt.subplots(
            2, sharex=True, figsize=(6.4, 6), layout="constrained", gridspec_kw=ratios
        )
    given = list(axes) if hasattr(axes, "__len__") else [axes]
    if len(given) != 2:
        raise ValueError(
            f"ax is {axes!r}. With learning_rate=True it must be two axes, of the losses and of the"
            " rates, as plt.subplots(2, sharex=True) makes them; or None."
        )
    return given[0], given[1]
