"""The public display of the curves of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sknn._display._curves import best_epoch_of, curves_of
from sknn._display._plotting import (
    COLORS,
    MARKERS,
    add_legend_above,
    axes_for,
    n_colors_taken,
    right_axes_of,
    two_axes_for,
)
from sknn._find_network import network_in

# Each kind of curve has its own style of line, so that colours can tell networks apart.
_STYLES = {
    "loss": ("-", "training loss"),
    "validation_loss": ("--", "validation loss"),
    "validation_score": (":", "validation score"),
    "learning_rate": ("-", "learning rate"),
}


class LossCurveDisplay:
    """Plot of losses, validation scores and learning rates over the epochs of training.

    Use :meth:`from_estimator` or :meth:`from_estimators` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    curves : dict of str to dict of str to ndarray of shape (n_epochs,)
        The curves of each network. The keys are the names of the networks, and the values are dicts
        with the keys 'epoch' and 'loss' and, if available, 'validation_loss', 'validation_score'
        and 'learning_rate'. Epochs without a value are NaN.
    best_epochs : dict of str to int, default=None
        For each network, the epoch whose weights early stopping has restored. Networks may be
        missing.
    notes : dict of str to list of str, default=None
        For each network, the problems that were found in training. Networks may be missing.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes with the losses.
    score_ax_ : matplotlib.axes.Axes or None
        The axes with the validation scores. Their scale is on the right side of `ax_`.
    rate_ax_ : matplotlib.axes.Axes or None
        The axes with the learning rates, below `ax_`.
    figure_ : matplotlib.figure.Figure
        The figure that contains the axes.
    lines_ : list of matplotlib.lines.Line2D
        All lines, network by network: first the curves, then the marker of the best epoch.
    curve_lines_ : dict of str to dict of str to matplotlib.lines.Line2D
        The same lines by name. For each network, the keys are the names of its curves in `curves`,
        and 'best_epoch' for the marker. The marker is on the curve that early stopping monitored:
        the validation score, or else the validation loss or training loss.
    notes_text_ : matplotlib.text.Annotation or None
        The notes below the axes.

    See Also
    --------
    WeightsDisplay : Plot of the weights of the first layer.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sknn import FeedForwardClassifier, LossCurveDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FeedForwardClassifier((30,), early_stopping=True, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(clf)
    >>> display.ax_.get_xlabel(), display.ax_.get_ylabel(), display.score_ax_.get_ylabel()
    ('epoch', 'loss', 'validation score')
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        curves: Mapping[str, Mapping[str, np.ndarray]],
        best_epochs: Mapping[str, int] | None = None,
        notes: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.curves = curves
        self.best_epochs = best_epochs
        self.notes = notes

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        name=None,
        ax=None,
        validation_score=True,
        learning_rate=False,
        log_scale=False,
        curve_kwargs=None,
    ):
        """Plot the curves of one fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted FeedForwardClassifier, FeedForwardRegressor, or scikit-learn MLPClassifier or
            MLPRegressor. It can also be a Pipeline that ends with one of these, a search whose
            `best_estimator_` is one of these, or a TransformedTargetRegressor of one of these.
        name : str, default=None
            Name of the network in the title of the legend and in the attributes. By default, it is
            the name of the network's class.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a new figure. With `learning_rate=True`, pass two axes:
            one for the losses and one for the learning rates.
        validation_score : bool, default=True
            Whether to plot validation scores, if there are any.
        learning_rate : bool, default=False
            Whether to plot the learning rates below the losses. scikit-learn's MLPs do not record
            them.
        log_scale : bool, default=False
            Whether to use a logarithmic scale for the losses.
        curve_kwargs : dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.plot`, used for all curves.

        Returns
        -------
        LossCurveDisplay
            The display with the plotted curves.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator does not contain a network.
        ValueError
            If the network has no loss curve, as with `solver="lbfgs"`, if `ax` does not match
            `learning_rate`, or if there are no learning rates to plot.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import MinMaxScaler
        >>> from sknn import FeedForwardClassifier, LossCurveDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = FeedForwardClassifier((30,), learning_rate="cosine", early_stopping=True)
        >>> model = make_pipeline(MinMaxScaler(), clf).fit(X, y)
        >>> display = LossCurveDisplay.from_estimator(model, learning_rate=True, log_scale=True)
        >>> sorted(display.curve_lines_["FeedForwardClassifier"])
        ['best_epoch', 'learning_rate', 'loss', 'validation_loss', 'validation_score']
        >>> plt.close(display.figure_)
        """
        name = type(network_in(estimator)).__name__ if name is None else name
        return cls.from_estimators(
            {name: estimator},
            ax=ax,
            validation_score=validation_score,
            learning_rate=learning_rate,
            log_scale=log_scale,
            curve_kwargs=curve_kwargs,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators,
        *,
        ax=None,
        validation_score=True,
        learning_rate=False,
        log_scale=False,
        curve_kwargs=None,
    ):
        """Plot the curves of several fitted estimators in one figure.

        Parameters
        ----------
        estimators : dict of str to object
            Estimators that :meth:`from_estimator` accepts. The keys are the names in the legend.
            You can combine estimators of this package and of scikit-learn.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a new figure. With `learning_rate=True`, pass two axes:
            one for the losses and one for the learning rates.
        validation_score : bool, default=True
            Whether to plot validation scores, if there are any.
        learning_rate : bool, default=False
            Whether to plot the learning rates below the losses. scikit-learn's MLPs do not record
            them.
        log_scale : bool, default=False
            Whether to use a logarithmic scale for the losses.
        curve_kwargs : dict or dict of str to dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.plot`, either one dict for all curves or one
            dict for each network, by name.

        Returns
        -------
        LossCurveDisplay
            The display with the plotted curves.

        Raises
        ------
        TypeError
            If `estimators` is not a dict with at least one estimator, or if one of them does not
            contain a network.
        sklearn.exceptions.NotFittedError, ValueError, ImportError
            As in :meth:`from_estimator`.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.neural_network import MLPClassifier
        >>> from sknn import FeedForwardClassifier, LossCurveDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> ours = FeedForwardClassifier(max_iter=1000, random_state=0).fit(X, y)
        >>> theirs = MLPClassifier(max_iter=1000, random_state=0).fit(X, y)
        >>> display = LossCurveDisplay.from_estimators({"sknn": ours, "scikit-learn": theirs})
        >>> list(display.curve_lines_)
        ['sknn', 'scikit-learn']
        >>> plt.close(display.figure_)
        """
        if not isinstance(estimators, Mapping) or not estimators:
            raise TypeError(
                f"estimators is {estimators!r}. It must be a dict that maps at least one name to a"
                " fitted estimator, as in LossCurveDisplay.from_estimators({'adam': clf})."
            )
        networks = {name: network_in(estimator) for name, estimator in estimators.items()}
        best_epochs = {name: best_epoch_of(network) for name, network in networks.items()}
        display = cls(
            curves={name: curves_of(network) for name, network in networks.items()},
            best_epochs={name: best for name, best in best_epochs.items() if best is not None},
            notes={name: list(getattr(of, "_notes", ())) for name, of in networks.items()},
        )
        return display.plot(
            ax,
            validation_score=validation_score,
            learning_rate=learning_rate,
            log_scale=log_scale,
            curve_kwargs=curve_kwargs,
        )

    def plot(
        self,
        ax=None,
        *,
        validation_score=True,
        learning_rate=False,
        log_scale=False,
        curve_kwargs=None,
    ):
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a new figure. With `learning_rate=True`, pass two axes:
            one for the losses and one for the learning rates.
        validation_score : bool, default=True
            Whether to plot validation scores, if there are any.
        learning_rate : bool, default=False
            Whether to plot the learning rates below the losses.
        log_scale : bool, default=False
            Whether to use a logarithmic scale for the losses.
        curve_kwargs : dict or dict of str to dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.plot`, either one dict for all curves or one
            dict for each network, by name.

        Returns
        -------
        self : LossCurveDisplay
            The display itself, with the attributes that plotting sets.

        Raises
        ------
        ValueError
            If `ax` does not match `learning_rate`, or if there are no learning rates to plot.
        ImportError
            If matplotlib is not installed.
        """
        caller = f"{type(self).__name__}.plot"
        self.score_ax_ = self.rate_ax_ = None
        if learning_rate:
            if not self._has("learning_rate"):
                raise ValueError(
                    f"learning_rate is {learning_rate!r}, but no learning rates were recorded for"
                    f" {', '.join(map(repr, self.curves))}. scikit-learn's estimators do not record"
                    " them. Set learning_rate=False."
                )
            self.ax_, self.rate_ax_ = two_axes_for(ax, caller)
            self.rate_ax_.set(xlabel="epoch", ylabel="learning rate")
        else:
            self.ax_ = axes_for(ax, caller)
        from matplotlib.ticker import MaxNLocator

        self.figure_ = self.ax_.figure
        self.curve_lines_ = {name: {} for name in self.curves}
        self.ax_.set(xlabel="epoch", ylabel="loss", yscale="log" if log_scale else "linear")
        for axes in filter(None, (self.ax_, self.rate_ax_)):
            # A single epoch has one tick, since a second one would not be a whole number.
            whole = MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
            axes.xaxis.set_major_locator(whole)
        if self.rate_ax_ is not None and self.ax_.get_shared_x_axes().joined(
            self.ax_, self.rate_ax_
        ):
            self.ax_.set_xlabel("")  # The label is below the rates.
        if validation_score and self._has("validation_score"):
            self.score_ax_ = right_axes_of(self.ax_, "validation score")
            self.score_ax_.set_ylabel("validation score")
        axes = {
            "loss": self.ax_,
            "validation_loss": self.ax_,
            "validation_score": self.score_ax_,
            "learning_rate": self.rate_ax_,
        }
        for i, name in enumerate(self.curves, n_colors_taken(self.ax_)):
            self._draw(name, i, axes, _options_of(name, curve_kwargs, self.curves))
        self.lines_ = [line for lines in self.curve_lines_.values() for line in lines.values()]
        self._add_legend()
        self._add_notes()
        return self

    def _has(self, curve: str) -> bool:
        return any(curve in curves for curves in self.curves.values())

    def _draw(self, name: str, i: int, axes: dict[str, Any], options: dict[str, Any]) -> None:
        """Draw the curves of a network in colour number `i`, and mark its best epoch."""
        curves, color = self.curves[name], COLORS[i % len(COLORS)]
        usual: dict[str, Any] = {"color": color, "linewidth": 1.5, "markersize": 4}
        if len(self.curves) > 1:
            # A line has about ten markers, which are at other epochs than those of other networks.
            every = max(len(curves["epoch"]) // 10, 1)
            start = int(every * (i % len(self.curves)) / len(self.curves))
            usual |= {"marker": MARKERS[i % len(MARKERS)], "markevery": (start, every)}
        for curve, ax in axes.items():
            if ax is None or curve not in curves:
                continue
            style, label = _STYLES[curve]
            label = label if len(self.curves) == 1 else f"{name}, {label}"
            look = {**usual, "linestyle": style, "label": label}
            if np.isfinite(curves[curve]).sum() == 1:  # A single value makes no line.
                look |= {"marker": MARKERS[i % len(MARKERS)], "markevery": None}
            (self.curve_lines_[name][curve],) = ax.plot(
                curves["epoch"], curves[curve], **{**look, **options}
            )
        best = (self.best_epochs or {}).get(name)
        if best is None:
            return
        watched = ("validation_score", "validation_loss", "loss")
        curve = next(c for c in watched if c in self.curve_lines_[name])
        (self.curve_lines_[name]["best_epoch"],) = axes[curve].plot(
            [best],
            [curves[curve][best - 1]],
            marker="*",
            markersize=13,
            markeredgecolor="white",
            linestyle="none",
            color=self.curve_lines_[name][curve].get_color(),
            label="best epoch, restored" if len(self.curves) == 1 else f"{name}, best epoch",
            zorder=3,
        )

    def _add_legend(self) -> None:
        """Add a legend. With several networks, it explains colours and styles separately."""
        handles = [
            line
            for lines in self.curve_lines_.values()
            for curve, line in lines.items()
            if curve != "learning_rate"
        ]
        title = next(iter(self.curves))
        if len(self.curves) > 1:
            handles = self._entries()
            title = None
        add_legend_above(self.ax_, handles, title)

    def _add_notes(self) -> None:
        """Write what went wrong in the trainings below the label of the epochs."""
        notes = [(name, note) for name in self.curves for note in (self.notes or {}).get(name, ())]
        lines = [note if len(self.curves) == 1 else f"{name}: {note}" for name, note in notes]
        self.notes_text_ = None
        if lines:
            self.notes_text_ = (self.rate_ax_ or self.ax_).annotate(
                "\n".join(lines),
                (0, 0),
                xycoords="axes fraction",
                xytext=(0, -32),
                textcoords="offset points",
                verticalalignment="top",
                fontsize="small",
            )

    def _entries(self) -> list[Any]:
        """Return the legend's entries for several networks: first colours, then styles."""
        from matplotlib.lines import Line2D

        entries = []
        for name, lines in self.curve_lines_.items():
            line = lines["loss"]
            look = {"color": line.get_color(), "marker": line.get_marker()}
            entries.append(Line2D([], [], label=name, **look))
        drawn = {
            curve: line for lines in self.curve_lines_.values() for curve, line in lines.items()
        }
        for curve in ("loss", "validation_loss", "validation_score"):
            if curve in drawn:
                style = drawn[curve].get_linestyle()
                label = _STYLES[curve][1]
                entries.append(Line2D([], [], color="gray", linestyle=style, label=label))
        if "best_epoch" in drawn:
            look = {"color": "gray", "marker": "*", "linestyle": "none", "markersize": 10}
            entries.append(Line2D([], [], label="best epoch, restored", **look))
        return entries


def _options_of(name: str, curve_kwargs: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's keyword arguments for one network, with full names in place of aliases."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    options = curve_kwargs or {}
    if all(key in names and isinstance(value, Mapping) for key, value in options.items()):
        options = options.get(name, {})
    return normalize_kwargs(dict(options), Line2D)
