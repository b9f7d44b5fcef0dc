"""`LossCurveDisplay` draws the curves of a training: tests of what is in the figures."""

from __future__ import annotations

import sys
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, LossCurveDisplay
from sknn._display._curves import best_epoch_of
from sknn._display._plotting import COLORS, MARKERS

RNG = np.random.RandomState(0)
X = RNG.randn(120, 3)
Y = (X @ [1.0, -2.0, 0.5] + 0.5 * RNG.randn(120) > 0).astype(int)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fitted(kind=FeedForwardClassifier, **parameters):
    model = kind((4,), **{"max_iter": 12, "random_state": 0, **parameters})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, Y)


@pytest.fixture(scope="module")
def stopped():
    return fitted(early_stopping=True, learning_rate="one_cycle")


@pytest.fixture(scope="module")
def plain():
    return fitted()


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_lines_have_the_curves_of_the_estimator(stopped):
    display = LossCurveDisplay.from_estimator(stopped)
    lines = display.curve_lines_["FeedForwardClassifier"]
    expected = {
        "loss": (display.ax_, stopped.loss_curve_),
        "validation_loss": (display.ax_, stopped.validation_loss_curve_),
        "validation_score": (display.score_ax_, stopped.validation_scores_),
    }
    assert list(lines) == [*expected, "best_epoch"]
    assert display.lines_ == list(lines.values())
    for name, (axes, values) in expected.items():
        assert lines[name].axes is axes
        assert lines[name].get_xdata().tolist() == [*range(1, len(values) + 1)]
        assert lines[name].get_ydata().tolist() == values
    assert display.figure_ is display.ax_.figure
    assert display.rate_ax_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.score_ax_.get_ylabel() == "validation score"


def test_best_epoch_is_marked_on_the_validation_score(stopped):
    display = LossCurveDisplay.from_estimator(stopped)
    marker = display.curve_lines_["FeedForwardClassifier"]["best_epoch"]
    best = best_epoch_of(stopped)
    assert marker.axes is display.score_ax_
    assert marker.get_xdata().tolist() == [best]
    assert marker.get_ydata().tolist() == [stopped.validation_scores_[best - 1]]


@pytest.mark.parametrize(
    ("kind", "curve"),
    [(FeedForwardClassifier, "validation_loss_curve_"), (MLPClassifier, "loss_curve_")],
)
def test_best_epoch_is_marked_on_a_loss_where_no_scores_are_drawn(kind, curve):
    model = fitted(kind, early_stopping=True)
    display = LossCurveDisplay.from_estimator(model, validation_score=False)
    marker = display.curve_lines_[kind.__name__]["best_epoch"]
    assert display.score_ax_ is None
    assert marker.axes is display.ax_
    assert marker.get_ydata().tolist() == [getattr(model, curve)[best_epoch_of(model) - 1]]


def test_without_early_stopping_there_are_no_scores_and_no_marker(plain):
    display = LossCurveDisplay.from_estimator(plain)
    assert set(display.curve_lines_["FeedForwardClassifier"]) == {"loss"}
    assert display.score_ax_ is None
    assert labels(display.ax_) == ["training loss"]


def test_learning_rates_are_drawn_below_if_asked_for(stopped):
    display = LossCurveDisplay.from_estimator(stopped, learning_rate=True)
    line = display.curve_lines_["FeedForwardClassifier"]["learning_rate"]
    assert line.axes is display.rate_ax_
    assert line.get_ydata().tolist() == stopped.learning_rate_curve_
    assert display.rate_ax_.get_ylabel() == "learning rate"
    assert display.rate_ax_.get_position().y1 <= display.ax_.get_position().y0
    assert display.ax_.get_xlim() == display.rate_ax_.get_xlim()
    assert (display.ax_.get_xlabel(), display.rate_ax_.get_xlabel()) == ("", "epoch")


def test_learning_rates_go_to_the_second_axes_given(stopped):
    _, (above, below) = plt.subplots(2)
    display = LossCurveDisplay.from_estimator(stopped, ax=(above, below), learning_rate=True)
    assert (display.ax_, display.rate_ax_) == (above, below)
    assert display.ax_.get_xlabel() == display.rate_ax_.get_xlabel() == "epoch"


@pytest.mark.parametrize(
    "make",
    [
        lambda: plt.subplots()[1],
        lambda: plt.subplots(3)[1],
        lambda: plt.subplots(2, squeeze=False)[1],
        lambda: ("above", "below"),
    ],
    ids=["one", "three", "rows of axes", "texts"],
)
def test_learning_rates_need_two_axes(stopped, make):
    with pytest.raises(ValueError, match="must consist of two axes"):
        LossCurveDisplay.from_estimator(stopped, ax=make(), learning_rate=True)


def test_learning_rates_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="no learning rates were recorded for 'MLPClassifier'"):
        LossCurveDisplay.from_estimator(fitted(MLPClassifier), learning_rate=True)


@pytest.mark.parametrize(("log_scale", "expected"), [(False, "linear"), (True, "log")])
def test_scale_of_the_losses(plain, log_scale, expected):
    display = LossCurveDisplay.from_estimator(plain, log_scale=log_scale)
    assert display.ax_.get_yscale() == expected


def test_axes_that_are_given_are_drawn_in(plain):
    figure, axes = plt.subplots()
    display = LossCurveDisplay.from_estimator(plain, ax=axes)
    assert display.ax_ is axes
    assert display.figure_ is figure
    again = display.plot()
    assert again is display
    assert display.ax_ is not axes


def test_epochs_on_the_axes_are_whole():
    _, (above, below) = plt.subplots(2)
    above.set_xticks([0.5, 1.5])
    curves = {"mine": {"epoch": np.arange(1, 4), "loss": np.ones(3), "learning_rate": np.ones(3)}}
    LossCurveDisplay(curves=curves).plot((above, below), learning_rate=True)
    for axes in (above, below):
        assert (axes.get_xticks() % 1 == 0).all()


def test_name_is_that_of_attributes_and_legend(stopped):
    display = LossCurveDisplay.from_estimator(stopped, name="digits")
    assert list(display.curve_lines_) == ["digits"]
    assert display.ax_.get_legend().get_title().get_text() == "digits"
    assert labels(display.ax_) == [
        *("training loss", "validation loss", "validation score", "best epoch, restored"),
    ]


def test_ours_and_scikit_learns_stand_in_one_picture(stopped, plain):
    theirs = fitted(MLPClassifier, early_stopping=True)
    models = {"stopped": stopped, "plain": plain, "theirs": make_pipeline("passthrough", theirs)}
    display = LossCurveDisplay.from_estimators(models, log_scale=True)
    assert {name: set(lines) for name, lines in display.curve_lines_.items()} == {
        "stopped": {"loss", "validation_loss", "validation_score", "best_epoch"},
        "plain": {"loss"},
        "theirs": {"loss", "validation_score", "best_epoch"},
    }
    for name, model in (("stopped", stopped), ("plain", plain), ("theirs", theirs)):
        assert display.curve_lines_[name]["loss"].get_ydata().tolist() == model.loss_curve_
    assert labels(display.ax_) == [
        *("stopped", "plain", "theirs", "training loss", "validation loss", "validation score"),
        "best epoch, restored",
    ]


def test_networks_differ_by_colour_and_marker_and_curves_by_style(stopped):
    display = LossCurveDisplay.from_estimators({"a": stopped, "b": stopped})
    for i, name in enumerate("ab"):
        for curve, style in (("loss", "-"), ("validation_loss", "--"), ("validation_score", ":")):
            line = display.curve_lines_[name][curve]
            assert line.get_color() == COLORS[i]
            assert line.get_marker() == MARKERS[i]
            assert line.get_linestyle() == style


def lightness(color):
    """Return the CIE L* of a colour, from 0 to 100."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(color)
    )
    return max(116 * np.cbrt(0.2126 * red + 0.7152 * green + 0.0722 * blue) - 16, 0)


def test_neighbouring_colours_differ_in_grey():
    lights = [lightness(color) for color in COLORS]
    assert min(abs(np.diff(lights))) > 10
    assert max(lights) < 80  # visible on a white background
    assert len(set(COLORS)) == len(MARKERS) == len(COLORS)


def test_curve_kwargs_are_for_all_curves_or_for_those_of_a_name(stopped, plain):
    display = LossCurveDisplay.from_estimator(stopped, curve_kwargs={"linewidth": 5})
    lines = display.curve_lines_["FeedForwardClassifier"]
    assert {lines[name].get_linewidth() for name in set(lines) - {"best_epoch"}} == {5}
    display = LossCurveDisplay.from_estimators(
        {"a": stopped, "b": plain}, curve_kwargs={"b": {"color": "red"}}
    )
    assert display.curve_lines_["a"]["loss"].get_color() == COLORS[0]
    assert display.curve_lines_["b"]["loss"].get_color() == "red"


def test_own_numbers_can_be_drawn():
    curves = {"mine": {"epoch": np.arange(1, 4), "loss": np.array([3.0, np.inf, np.nan])}}
    display = LossCurveDisplay(curves=curves).plot()
    np.testing.assert_array_equal(
        display.curve_lines_["mine"]["loss"].get_ydata(), [3.0, np.inf, np.nan]
    )
    display.figure_.canvas.draw()


@pytest.mark.parametrize("estimators", [{}, [FeedForwardClassifier()], FeedForwardClassifier()])
def test_estimators_must_be_a_dict(estimators):
    with pytest.raises(TypeError, match="must be a dict that maps at least one name"):
        LossCurveDisplay.from_estimators(estimators)


def test_errors_of_estimators_come_before_any_figure(plain):
    before = plt.get_fignums()
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimators({"a": plain, "b": FeedForwardClassifier()})
    with pytest.raises(TypeError, match="no network"):
        LossCurveDisplay.from_estimator(StandardScaler())
    with pytest.raises(ValueError, match="lbfgs"):
        LossCurveDisplay.from_estimator(fitted(solver="lbfgs", max_iter=100))
    assert plt.get_fignums() == before


def test_missing_matplotlib_is_told_with_the_name_of_the_extra(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'LossCurveDisplay.plot .*pip install "sknn\[plot\]"'):
        LossCurveDisplay.from_estimator(plain)


def test_second_picture_on_the_same_axes_has_its_own_colour_and_the_same_scales(stopped):
    _, axes = plt.subplots()
    first = LossCurveDisplay.from_estimator(stopped, ax=axes, name="a")
    second = LossCurveDisplay.from_estimator(stopped, ax=axes, name="b")
    assert first.score_ax_ is second.score_ax_
    assert len(axes.figure.axes) == 2
    assert first.curve_lines_["a"]["loss"].get_color() == COLORS[0]
    assert {line.get_color() for line in second.curve_lines_["b"].values()} == {COLORS[1]}
    entries = ("training loss", "validation loss", "validation score", "best epoch, restored")
    assert labels(axes) == [f"{name}, {entry}" for name in "ab" for entry in entries]
    assert axes.get_legend().get_title().get_text() == ""
    third = LossCurveDisplay.from_estimators({"c": stopped, "d": stopped}, ax=axes)
    assert third.curve_lines_["d"]["loss"].get_color() == COLORS[3]
    assert labels(axes)[8:] == ["c", "d", *entries]
    axes.figure.canvas.draw()


def test_pictures_above_each_other_have_their_own_scores_and_legends(stopped):
    _, (above, below) = plt.subplots(2, sharex=True)
    first = LossCurveDisplay.from_estimator(stopped, ax=above, name="a")
    second = LossCurveDisplay.from_estimator(stopped, ax=below, name="b")
    assert first.score_ax_ is not second.score_ax_
    assert second.curve_lines_["b"]["loss"].get_color() == COLORS[0]
    assert below.get_legend().get_title().get_text() == "b"


def test_single_epoch_is_seen():
    model = fitted(early_stopping=True, max_iter=1)
    display = LossCurveDisplay.from_estimator(model)
    lines = display.curve_lines_["FeedForwardClassifier"].values()
    assert all(line.get_marker() not in ("None", "", None) for line in lines)
    left, right = display.ax_.get_xlim()
    assert [tick for tick in display.ax_.get_xticks() if left <= tick <= right] == [1]


def test_short_names_of_curve_kwargs_stand_for_the_long_ones(stopped):
    display = LossCurveDisplay.from_estimator(stopped, curve_kwargs={"lw": 5, "c": "red"})
    line = display.curve_lines_["FeedForwardClassifier"]["loss"]
    assert (line.get_linewidth(), line.get_color()) == (5, "red")


@pytest.mark.parametrize("axes", [3, [], "two"])
def test_axes_that_are_none_are_refused(plain, axes):
    axes = plt.subplots(2)[1] if axes == "two" else axes
    with pytest.raises(ValueError, match=r"It must be one matplotlib\.axes\.Axes"):
        LossCurveDisplay.from_estimator(plain, ax=axes)


def test_star_is_not_drawn_where_lbfgs_has_gone_on():
    model = fitted(early_stopping=True, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(solver="lbfgs").fit(X, Y)
    assert (
        "best_epoch"
        not in LossCurveDisplay.from_estimator(model).curve_lines_[type(model).__name__]
    )


def test_curves_of_several_members_are_one():
    model = fitted(n_members=3, early_stopping=True)
    display = LossCurveDisplay.from_estimator(model, name="net")
    lines = display.curve_lines_["net"]
    assert lines["loss"].get_ydata().tolist() == model.loss_curve_
    assert lines["validation_loss"].get_ydata().tolist() == model.validation_loss_curve_
