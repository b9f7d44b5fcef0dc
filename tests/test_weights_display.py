"""`WeightsDisplay` draws the weights of a network: tests of what is in the figures."""

from __future__ import annotations

import itertools
import sys
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import FeedForwardClassifier, FeedForwardRegressor, WeightsDisplay

RNG = np.random.RandomState(0)
X = RNG.randn(60, 6)
Y = RNG.randint(0, 3, 60)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fitted(kind=FeedForwardClassifier, X=X, hidden_layer_sizes=(20,), **parameters):
    model = kind(hidden_layer_sizes=hidden_layer_sizes, max_iter=2, random_state=0, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, Y)


@pytest.fixture(scope="module")
def model():
    return fitted()


def ticks(labels):
    return [label.get_text() for label in labels]


def test_heat_map_has_a_row_for_each_feature_and_a_column_for_each_unit(model):
    display = WeightsDisplay.from_estimator(model, units=[7, 2, 2])
    (image,) = display.images_
    np.testing.assert_array_equal(image.get_array(), model.coefs_[0][:, [7, 2, 2]])
    assert display.axes_.tolist() == [display.ax_]
    assert ticks(display.ax_.get_yticklabels()) == ["x0", "x1", "x2", "x3", "x4", "x5"]
    assert ticks(display.ax_.get_xticklabels()) == ["7", "2", "2"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("unit", "feature")


def test_images_are_the_weights_of_units_in_the_shape_given(model):
    display = WeightsDisplay.from_estimator(model, image_shape=(2, 3), units=[4, 0])
    for unit, axes, image in zip([4, 0], display.axes_, display.images_, strict=True):
        np.testing.assert_array_equal(image.get_array(), model.coefs_[0][:, unit].reshape(2, 3))
        assert image.axes is axes
        assert axes.get_title() == f"unit {unit}"


@pytest.mark.parametrize("shape", [(2, 3), (6, 1)])
def test_images_and_their_titles_do_not_overlap_and_stay_inside_of_the_axes(model, shape):
    _, (axes, _) = plt.subplots(1, 2)
    display = WeightsDisplay.from_estimator(model, image_shape=shape, units=5, ax=axes)
    display.figure_.canvas.draw()
    assert display.ax_ is axes
    outer = axes.get_window_extent()
    boxes = [
        Bbox.union([inner.get_window_extent(), inner.title.get_window_extent()])
        for inner in display.axes_
    ]
    for i, box in enumerate(boxes):
        assert outer.x0 - 1 <= box.x0 < box.x1 <= outer.x1 + 1
        assert outer.y0 - 1 <= box.y0 < box.y1 <= outer.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_limits_are_symmetric_and_the_same_for_all_images(model):
    display = WeightsDisplay.from_estimator(model, image_shape=(2, 3), units=[3, 5])
    largest = np.abs(model.coefs_[0][:, [3, 5]]).max()
    assert {image.get_clim() for image in display.images_} == {(-largest, largest)}
    assert (display.colorbar_.vmin, display.colorbar_.vmax) == (-largest, largest)


def test_limit_and_options_of_the_user(model):
    display = WeightsDisplay.from_estimator(
        model, limit=2.5, colorbar=False, im_kwargs={"cmap": "RdBu", "aspect": "equal"}
    )
    (image,) = display.images_
    assert image.get_clim() == (-2.5, 2.5)
    assert image.get_cmap().name == "RdBu"
    assert display.ax_.get_aspect() == 1
    assert display.colorbar_ is None


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, np.inf])
def test_limit_must_be_a_finite_number_above_zero(model, limit):
    with pytest.raises(ValueError, match="limit is .* must be a finite number above 0"):
        WeightsDisplay.from_estimator(model, limit=limit)


def test_weights_of_zero_are_drawn():
    display = WeightsDisplay(weights=np.zeros((3, 2)), units=np.arange(2)).plot()
    assert display.images_[0].get_clim() == (-1.0, 1.0)


def test_usual_colours_go_from_dark_to_light(model):
    cmap = WeightsDisplay.from_estimator(model).images_[0].get_cmap()
    grey = cmap(np.linspace(0, 1, 11))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) > 0).all()


def test_number_of_units_shows_those_of_largest_norm_in_order(model):
    display = WeightsDisplay.from_estimator(model, units=4)
    norms = np.linalg.norm(model.coefs_[0], axis=0)
    assert display.units.tolist() == np.argsort(-norms)[:4].tolist()
    np.testing.assert_array_equal(display.weights, model.coefs_[0][:, display.units])


@pytest.mark.parametrize(("units", "n_shown"), [(None, 20), (50, 20), (np.int64(3), 3)])
def test_number_of_units_is_at_most_that_of_the_layer(model, units, n_shown):
    assert len(WeightsDisplay.from_estimator(model, units=units).units) == n_shown


@pytest.mark.parametrize(
    "units", [0, -1, [20], [-1], [], [[0, 1]], [0.5], "all", True, [True, False]]
)
def test_units_that_are_not_there_are_refused(model, units):
    with pytest.raises(ValueError, match="units is .* from 0 to 19, or None for all"):
        WeightsDisplay.from_estimator(model, units=units)


def test_names_are_those_of_the_frame_or_given():
    frame = pd.DataFrame(X, columns=[f"column {i}" for i in range(6)])
    model = fitted(X=frame)
    display = WeightsDisplay.from_estimator(model)
    assert ticks(display.ax_.get_yticklabels()) == [*frame.columns]
    display = WeightsDisplay.from_estimator(model, feature_names=list("abcdef"))
    assert ticks(display.ax_.get_yticklabels()) == list("abcdef")
    with pytest.raises(ValueError, match="must contain one name for each of the 6 features"):
        WeightsDisplay.from_estimator(model, feature_names=list("abc"))


def test_of_many_features_some_are_named():
    display = WeightsDisplay(weights=np.ones((300, 50)), units=np.arange(50)).plot()
    assert ticks(display.ax_.get_yticklabels())[:2] == ["x0", "x15"]
    assert ticks(display.ax_.get_xticklabels())[:2] == ["0", "3"]


@pytest.mark.parametrize("shape", [(2, 2), (6,), (2, 3, 1), 6, (2.0, 3.0), (-2, -3), "23"])
def test_image_shape_must_be_that_of_the_features(model, shape):
    with pytest.raises(ValueError, match="image_shape is .* the number of features, 6"):
        WeightsDisplay.from_estimator(model, image_shape=shape)


@pytest.mark.parametrize("kind", [MLPClassifier, FeedForwardRegressor])
def test_networks_of_scikit_learn_lbfgs_and_pipelines_are_drawn(kind):
    model = fitted(kind, solver="lbfgs")
    display = WeightsDisplay.from_estimator(make_pipeline("passthrough", model), units=None)
    np.testing.assert_array_equal(display.images_[0].get_array(), model.coefs_[0])


def test_without_hidden_layer_the_units_are_outputs():
    model = fitted(hidden_layer_sizes=())
    display = WeightsDisplay.from_estimator(model, image_shape=(2, 3), units=None)
    titles = [axes.get_title() for axes in display.axes_]
    assert titles == ["output 0", "output 1", "output 2"]


def test_several_members_are_refused_and_one_of_them_is_drawn():
    ensemble = fitted(n_members=3)
    with pytest.raises(ValueError, match=r"has 3 members, .* copy .* docs/pictures\.md"):
        WeightsDisplay.from_estimator(make_pipeline("passthrough", ensemble))
    member = clone(ensemble).set_params(n_members=1)
    member.coefs_ = [coef[1] for coef in ensemble.coefs_]
    member.intercepts_ = [intercept[1] for intercept in ensemble.intercepts_]
    display = WeightsDisplay.from_estimator(member, units=[2, 0])
    np.testing.assert_array_equal(display.weights, ensemble.coefs_[0][1][:, [2, 0]])


def test_estimators_without_weights_are_refused():
    with pytest.raises(NotFittedError):
        WeightsDisplay.from_estimator(FeedForwardClassifier())
    with pytest.raises(TypeError, match="no network"):
        WeightsDisplay.from_estimator(StandardScaler())


def test_missing_matplotlib_is_told_with_the_name_of_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'WeightsDisplay.plot .*pip install "sknn\[plot\]"'):
        WeightsDisplay.from_estimator(model)


def test_names_with_dollars_are_no_formulas():
    names = ["$a$", "price in $", r"$\foo$", "x_1", "b $ c $", "$$"]
    display = WeightsDisplay.from_estimator(fitted(X=pd.DataFrame(X, columns=names)))
    display.figure_.canvas.draw()
    labels = display.ax_.get_yticklabels()
    assert ticks(labels) == names
    assert not any(label.get_parse_math() for label in labels)


def test_norm_takes_the_place_of_the_limit(model):
    norm = matplotlib.colors.SymLogNorm(0.1)
    display = WeightsDisplay.from_estimator(model, im_kwargs={"norm": norm})
    assert display.images_[0].norm is norm


@pytest.mark.matrix(2)
@pytest.mark.parametrize(("n_units", "rotation"), [(8, 0), (60, 0), (200, 90)])
def test_many_numbers_of_units_are_turned_and_do_not_overlap(n_units, rotation):
    model = fitted(hidden_layer_sizes=(2 * n_units,))
    display = WeightsDisplay.from_estimator(model, units=range(n_units))
    display.figure_.canvas.draw()
    labels = display.ax_.get_xticklabels()
    assert {label.get_rotation() for label in labels} == {rotation}
    boxes = [label.get_window_extent() for label in labels]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
