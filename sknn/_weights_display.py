"""The public display of the weights of the first layer."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from sknn._display._plotting import axes_for
from sknn._find_network import network_in

# With more rows or columns than this, only some of them are labelled.
_MOST_LABELS = 20
# More digits than this would touch each other below the columns of a usual figure, which is about
# six inches wide.
_MOST_DIGITS = 40


class WeightsDisplay:
    """Plot of the weights of the first layer, as a heat map or as one image per unit.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_features, n_shown)
        The weights, with one column for each unit.
    units : ndarray of int of shape (n_shown,)
        The indices of the units, starting at 0.
    feature_names : ndarray of str of shape (n_features,), default=None
        The names of the features. By default, they are 'x0', 'x1', ...
    unit_kind : str, default='unit'
        The word used for a unit in labels and titles.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the heat map, or the axes that contain the images.
    axes_ : ndarray of matplotlib.axes.Axes
        The axes of the images, with shape (n_shown,), or of the heat map, with shape (1,).
    figure_ : matplotlib.figure.Figure
        The figure that contains the axes.
    images_ : list of matplotlib.image.AxesImage
        The images, one for each of `axes_`. They share symmetric colour limits, so the middle of
        the scale is zero.
    colorbar_ : matplotlib.colorbar.Colorbar or None
        The colour bar, if there is one.

    See Also
    --------
    LossCurveDisplay : Plot of losses, scores and learning rates.

    Notes
    -----
    The default colormap, 'cividis', runs from dark to light. The signs of the weights can therefore
    be read in greyscale prints and by colour-blind readers. In greyscale, a colormap with two dark
    ends, such as 'RdBu', only shows the absolute values.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sknn import FeedForwardClassifier, WeightsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = FeedForwardClassifier((30,), early_stopping=True, random_state=0).fit(X, y)
    >>> display = WeightsDisplay.from_estimator(clf, image_shape=(8, 8), units=9)
    >>> len(display.images_), display.images_[0].get_array().shape
    (9, (8, 8))
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, weights, units, feature_names=None, unit_kind="unit") -> None:
        self.weights = weights
        self.units = units
        self.feature_names = feature_names
        self.unit_kind = unit_kind

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        units=16,
        feature_names=None,
        image_shape=None,
        ax=None,
        limit=None,
        colorbar=True,
        im_kwargs=None,
    ):
        """Plot the weights of the first layer of a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted FeedForwardClassifier, FeedForwardRegressor, or scikit-learn MLPClassifier or
            MLPRegressor. It can also be a Pipeline that ends with one of these, a search whose
            `best_estimator_` is one of these, or a TransformedTargetRegressor of one of these.
        units : int, array-like of int or None, default=16
            Units to show. An int shows this number of units, namely those whose weights have the
            largest norms, in decreasing order. An array-like contains the indices of the units,
            starting at 0. None shows all units.
        feature_names : array-like of str of shape (n_features,), default=None
            The names of the features. By default, they are the network's `feature_names_in_`, or
            'x0', 'x1', ...
        image_shape : tuple of (int, int), default=None
            Numbers of rows and columns if the features form an image, such as (8, 8). None draws
            one heat map with a row for each feature and a column for each unit.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a new figure.
        limit : float, default=None
            The colour scale ranges from `-limit` to `limit`. By default, `limit` is the largest
            absolute value of the weights that are shown.
        colorbar : bool, default=True
            Whether to add a colour bar.
        im_kwargs : dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.imshow`, such as `cmap`, or `norm`, which
            replaces `limit`.

        Returns
        -------
        WeightsDisplay
            The display with the plotted weights.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator does not contain a network.
        ValueError
            If `units`, `feature_names`, `image_shape` or `limit` do not match the network, or if
            the network has several members.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_iris
        >>> from sknn import FeedForwardClassifier, WeightsDisplay
        >>> iris = load_iris(as_frame=True)
        >>> clf = FeedForwardClassifier((10,), solver="lbfgs", random_state=0)
        >>> display = WeightsDisplay.from_estimator(clf.fit(iris.data, iris.target), units=None)
        >>> [label.get_text() for label in display.ax_.get_yticklabels()][:2]
        ['sepal length (cm)', 'sepal width (cm)']
        >>> plt.close(display.figure_)
        """
        network = network_in(estimator)
        weights = np.asarray(network.coefs_[0])
        if weights.ndim == 3:
            raise ValueError(
                f"This {type(network).__name__} has {len(weights)} members, but the plot can only"
                " show one network. Plot a copy that has the weights of one member, as shown in"
                " docs/pictures.md."
            )
        names = getattr(network, "feature_names_in_", None)
        if feature_names is not None:
            names = np.asarray(feature_names)
            if names.shape != weights.shape[:1]:
                raise ValueError(
                    f"feature_names has the shape {names.shape}. It must contain one name for each"
                    f" of the {len(weights)} features."
                )
        chosen = _chosen(units, weights)
        display = cls(
            weights=weights[:, chosen],
            units=chosen,
            feature_names=names,
            unit_kind="output" if len(network.coefs_) == 1 else "unit",
        )
        return display.plot(
            ax, image_shape=image_shape, limit=limit, colorbar=colorbar, im_kwargs=im_kwargs
        )

    def plot(self, ax=None, *, image_shape=None, limit=None, colorbar=True, im_kwargs=None):
        """Plot the weights.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a new figure.
        image_shape : tuple of (int, int), default=None
            Numbers of rows and columns if the features form an image. None draws a heat map.
        limit : float, default=None
            The colour scale ranges from `-limit` to `limit`. By default, `limit` is the largest
            absolute value of the weights that are shown.
        colorbar : bool, default=True
            Whether to add a colour bar.
        im_kwargs : dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.imshow`, such as `cmap`, or `norm`, which
            replaces `limit`.

        Returns
        -------
        self : WeightsDisplay
            The display itself, with the attributes that plotting sets.

        Raises
        ------
        ValueError
            If `image_shape` does not match the number of features, or if `limit` is not positive.
        ImportError
            If matplotlib is not installed.
        """
        if limit is None:
            # If all weights are zero, any scale will do.
            limit = float(np.abs(self.weights).max()) or 1.0
        if not (isinstance(limit, Real) and math.isfinite(limit) and limit > 0):
            raise ValueError(f"limit is {limit!r}. It must be a finite number above 0, or None.")
        if image_shape is not None:
            _check_image_shape(image_shape, len(self.weights))
        self.ax_ = axes_for(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        options = {"cmap": "cividis", "interpolation": "nearest", **(im_kwargs or {})}
        if options.get("norm") is None:  # A norm has its own limits.
            options = {"vmin": -limit, "vmax": limit, **options}
        if image_shape is None:
            self._draw_heat_map(options)
        else:
            self._draw_images(image_shape, options)
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(self.images_[0], ax=self.ax_, label="weight")
        return self

    def _draw_heat_map(self, options: dict[str, Any]) -> None:
        """Draw one image, with a row for each feature and a column for each unit."""
        n_features, n_shown = self.weights.shape
        names = self.feature_names
        if names is None:
            names = [f"x{i}" for i in range(n_features)]
        self.images_ = [self.ax_.imshow(self.weights, **{"aspect": "auto", **options})]
        self.axes_ = np.array([self.ax_])
        self.ax_.set(xlabel=self.unit_kind, ylabel="feature")
        rows = range(0, n_features, math.ceil(n_features / _MOST_LABELS))
        columns = range(0, n_shown, math.ceil(n_shown / _MOST_LABELS))
        # The names of features are not formulas, even if they contain two dollar signs.
        self.ax_.set_yticks(rows, [str(names[i]) for i in rows], parse_math=False)
        numbers = [str(self.units[i]) for i in columns]
        self.ax_.set_xticks(columns, numbers)
        if sum(map(len, numbers)) > _MOST_DIGITS:
            self.ax_.tick_params("x", labelrotation=90)

    def _draw_images(self, shape: tuple[int, int], options: dict[str, Any]) -> None:
        """Draw an image for each unit, in a grid inside the axes, wherever these are."""
        n_shown = len(self.units)
        n_columns = math.ceil(math.sqrt(n_shown))
        n_rows = math.ceil(n_shown / n_columns)
        self.ax_.set_axis_off()
        self.axes_, self.images_ = np.empty(n_shown, dtype=object), []
        for i, unit in enumerate(self.units):
            row, column = divmod(i, n_columns)
            # Each image has a cell of the grid, of whose height the title above takes a fifth.
            bounds = [column / n_columns, 1 - (row + 1) / n_rows, 0.94 / n_columns, 0.8 / n_rows]
            ax = self.axes_[i] = self.ax_.inset_axes(bounds)
            self.images_.append(ax.imshow(self.weights[:, i].reshape(shape), **options))
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(f"{self.unit_kind} {unit}", fontsize="small", pad=2)


def _chosen(units: Any, weights: np.ndarray) -> np.ndarray:
    """Return the numbers of the units to show."""
    n_units = weights.shape[1]
    allowed = (
        f"It must be the number of units to show, at least 1, a list of unit indices from 0 to"
        f" {n_units - 1}, or None for all units."
    )
    if units is None:
        return np.arange(n_units)
    if isinstance(units, Integral) and not isinstance(units, bool):
        if units < 1:
            raise ValueError(f"units is {units}. {allowed}")
        norms = np.linalg.norm(weights, axis=0)
        return np.argsort(-norms, kind="stable")[:units]
    chosen = np.asarray(units)
    is_sound = chosen.ndim == 1 and len(chosen) and np.issubdtype(chosen.dtype, np.integer)
    if not is_sound or chosen.min() < 0 or chosen.max() >= n_units:
        raise ValueError(f"units is {units!r}. {allowed}")
    return chosen


def _check_image_shape(shape: Any, n_features: int) -> None:
    is_pair = isinstance(shape, tuple | list) and len(shape) == 2
    is_pair = is_pair and all(isinstance(n, Integral) and n > 0 for n in shape)
    if not is_pair or shape[0] * shape[1] != n_features:
        raise ValueError(
            f"image_shape is {shape!r}. It must consist of two integers, the numbers of rows and"
            f" columns, whose product is the number of features, {n_features}. Use None for a heat"
            " map."
        )
