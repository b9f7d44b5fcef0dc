"""scikit-learn's callbacks get one task per epoch, alone and inside other estimators."""

from __future__ import annotations

import copy
import pickle
import signal
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TARGETS, assert_bit_equal
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring, EpochTimer
from torch.optim import lr_scheduler

from sknn import FeedForwardClassifier, FeedForwardRegressor

sklearn_callback = pytest.importorskip("sklearn.callback")  # It is new in scikit-learn 1.9.
ScoringMonitor = sklearn_callback.ScoringMonitor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, SPECIES = TARGETS["multiclass"]
NAMES = np.array(["virginica", "setosa", "versicolor"])[SPECIES]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "learning_rate_init": 0.05, "random_state": 0}


def classifier(*callbacks, **parameters):
    estimator = FeedForwardClassifier(**{**SMALL, **parameters})
    return estimator.set_callbacks(*callbacks)


class Recording:
    """A callback of scikit-learn's protocol that records what it is told."""

    def __init__(self):
        self.told = []

    def setup(self, estimator, context):
        self.told.append(("setup", context, {}))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.told.append(("begin", context, {"X": X, "y": y, "metadata": metadata}))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        given = {"X": X, "y": y, "metadata": metadata, "fitted_estimator": fitted_estimator}
        self.told.append(("end", context, given))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context, {}))

    def __getstate__(self):
        return {"told": []}

    @property
    def names(self):
        """The recorded events with the names of their tasks."""
        return [(what, context.task_name) for what, context, _ in self.told]

    @property
    def fitted(self):
        """The estimators as they were at the end of each epoch."""
        return [
            given["fitted_estimator"]
            for what, context, given in self.told
            if (what, context.task_name) == ("end", "epoch")
        ]


class Propagated(Recording):
    """A `Recording` that a meta-estimator hands on to its inner estimators."""

    max_propagation_depth = None


def expected_names(n_epochs):
    epochs = [("begin", "epoch"), ("end", "epoch")] * n_epochs
    return [("setup", "fit"), ("begin", "fit"), *epochs, ("end", "fit"), ("teardown", "fit")]


def assert_same_model(left, right):
    """Assert that two estimators are equal bit by bit, whatever callbacks they hold."""
    left, right = copy.copy(left), copy.copy(right)
    for estimator in (left, right):
        for name in ("callbacks_", "_skl_callbacks"):
            vars(estimator).pop(name, None)
    assert_bit_equal(left, right)


FITS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    {"solver": "adamw", "learning_rate": "cosine"},
    {"solver": torch.optim.RMSprop},
    {"learning_rate": partial(lr_scheduler.ExponentialLR, gamma=0.5)},
    {"solver": "lbfgs"},
    {"early_stopping": True, "max_iter": 6},
    {"dropout": 0.3, "normalization": "batch"},
    {"n_members": 3},
]


# --- tasks ------------------------------------------------------------------------------------


@pytest.mark.matrix(5)
@pytest.mark.parametrize("parameters", FITS, ids=str)
def test_every_epoch_is_a_task_and_nothing_is_changed(parameters):
    recording = Recording()
    estimator = classifier(recording, **parameters).fit(X_IRIS, NAMES)
    assert recording.names == expected_names(estimator.n_iter_)
    contexts = [c for what, c, _ in recording.told if (what, c.task_name) == ("end", "epoch")]
    root = recording.told[0][1]
    assert [context.task_id for context in contexts] == list(range(estimator.n_iter_))
    assert all(context.parent is root for context in contexts)
    assert root.parent is None
    assert root.max_subtasks == estimator.max_iter
    assert root.estimator_name == "FeedForwardClassifier"
    assert_same_model(estimator, classifier(**parameters).fit(X_IRIS, NAMES))


def test_tasks_end_with_a_training_that_stops_early():
    recording = Recording()
    estimator = classifier(recording, max_iter=100, tol=10.0, n_iter_no_change=2)
    assert estimator.fit(X_IRIS, NAMES).n_iter_ < 100
    assert recording.names == expected_names(estimator.n_iter_)


def test_each_fit_is_a_run_of_its_own():
    recording = Recording()
    estimator = classifier(recording, warm_start=True)
    estimator.fit(X_IRIS, NAMES).fit(X_IRIS, NAMES)
    assert recording.names == expected_names(4) * 2
    assert len({context.root_uuid for _, context, _ in recording.told}) == 2
    assert_same_model(estimator, classifier(warm_start=True).fit(X_IRIS, NAMES).fit(X_IRIS, NAMES))


def test_partial_fit_is_no_task():
    recording = Recording()
    classifier(recording).partial_fit(X_IRIS, NAMES, classes=np.unique(NAMES))
    assert recording.told == []


@pytest.mark.parametrize("weighted", [False, True])
def test_tasks_are_shown_what_the_user_gave(weighted):
    recording = Recording()
    weight = np.arange(1.0, len(NAMES) + 1) if weighted else None
    classifier(recording).fit(X_IRIS, NAMES, weight)
    for what, _, given in recording.told:
        if what in ("begin", "end"):
            assert given["X"] is X_IRIS
            assert given["y"] is NAMES
            assert given["metadata"] == ({"sample_weight": weight} if weighted else None)


@pytest.mark.matrix(5)
@pytest.mark.parametrize("parameters", FITS, ids=str)
def test_fitted_estimator_is_what_fit_had_made_of_so_many_epochs(parameters):
    # The estimators are compared after the last epoch, because later epochs must not change them.
    recording = Recording()
    estimator = classifier(recording, **parameters).fit(X_IRIS, NAMES)
    assert len(recording.fitted) == estimator.n_iter_ > 1
    for n_epochs, fitted in enumerate(recording.fitted, 1):
        if parameters.get("learning_rate") == "cosine":  # The horizon of the schedule is max_iter.
            break
        expected = classifier(**{**parameters, "max_iter": n_epochs}).fit(X_IRIS, NAMES)
        np.testing.assert_array_equal(fitted.predict(X_IRIS), expected.predict(X_IRIS))
        np.testing.assert_array_equal(fitted.predict_proba(X_IRIS), expected.predict_proba(X_IRIS))
        assert fitted.n_iter_ == n_epochs
        assert fitted.loss_ == expected.loss_
        assert getattr(fitted, "loss_curve_", None) == getattr(expected, "loss_curve_", None)
    last = recording.told[-2][2]["fitted_estimator"]
    np.testing.assert_array_equal(last.predict_proba(X_IRIS), estimator.predict_proba(X_IRIS))


def test_fitted_estimator_has_the_best_weights_so_far_with_early_stopping():
    # `fit` restores the same weights when it ends. The score falls in between.
    parameters = {"early_stopping": True, "max_iter": 10, "learning_rate_init": 0.3}
    recording = Recording()
    estimator = classifier(recording, **parameters).fit(X_IRIS, NAMES)
    scores = estimator.validation_scores_
    assert any(score < max(scores[:n]) for n, score in enumerate(scores[1:], 1))
    for n_epochs, fitted in enumerate(recording.fitted, 1):
        expected = classifier(**{**parameters, "max_iter": n_epochs}).fit(X_IRIS, NAMES)
        np.testing.assert_array_equal(fitted.predict_proba(X_IRIS), expected.predict_proba(X_IRIS))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fitted_estimator_has_the_history_so_far(solver):
    recording = Recording()
    estimator = classifier(recording, solver=solver).fit(X_IRIS, NAMES)
    losses = estimator.net_.history[:, "train_loss"]
    for n_epochs, fitted in enumerate(recording.fitted, 1):
        assert fitted.net_.history[:, "train_loss"] == losses[:n_epochs]


def test_fitted_estimator_can_be_kept_and_trained_on():
    recording = Recording()
    estimator = classifier(recording).fit(X_IRIS, NAMES)
    first = recording.fitted[0]
    loaded = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(loaded.predict_proba(X_IRIS), first.predict_proba(X_IRIS))
    assert_same_model(clone(first).fit(X_IRIS, NAMES), estimator)
    assert len(first.partial_fit(X_IRIS, NAMES).loss_curve_) == 2


def test_pickle_and_clone_keep_callbacks_and_no_context():
    estimator = classifier(Recording()).fit(X_IRIS, NAMES)
    assert not [name for name in vars(estimator) if name.startswith("_callback")]
    loaded = pickle.loads(pickle.dumps(estimator))
    loaded.fit(X_IRIS, NAMES)
    assert loaded._skl_callbacks[0].names == expected_names(4)
    cloned = clone(estimator)
    assert cloned._skl_callbacks == estimator._skl_callbacks
    assert estimator.set_callbacks() is estimator
    told = len(cloned._skl_callbacks[0].told)
    estimator.fit(X_IRIS, NAMES)
    assert len(cloned._skl_callbacks[0].told) == told


# --- stops, interrupts, errors ----------------------------------------------------------------


class Acting(Recording):
    """A `Recording` that acts at the end of the third epoch, or elsewhere."""

    def __init__(self, act, where=("end", "epoch", 2)):
        super().__init__()
        self.act, self.where = act, where

    def setup(self, estimator, context):
        super().setup(estimator, context)
        self._at("setup", context)

    def on_fit_task_begin(self, estimator, context):
        super().on_fit_task_begin(estimator, context)
        self._at("begin", context)

    def on_fit_task_end(self, estimator, context):
        super().on_fit_task_end(estimator, context)
        return self._at("end", context)

    def _at(self, what, context):
        if (what, context.task_name, context.task_id) == self.where:
            return self.act()
        return None


@pytest.mark.matrix(5)
@pytest.mark.parametrize("parameters", FITS, ids=str)
def test_callback_that_returns_true_stops_and_the_epoch_is_kept(parameters):
    acting = Acting(lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = classifier(acting, **parameters).fit(X_IRIS, NAMES)
    assert stopped.n_iter_ == len(stopped.net_.history) == 3
    assert acting.names == expected_names(3)
    if parameters.get("learning_rate") != "cosine":  # The horizon of the schedule is max_iter.
        finished = classifier(**{**parameters, "max_iter": 3}).fit(X_IRIS, NAMES)
        assert_same_model(stopped, finished)


def test_callbacks_of_both_kinds_see_the_epoch_in_which_one_stops():
    stopped = classifier(
        Acting(lambda: True), callbacks=[EpochScoring("accuracy", on_train=True)]
    ).fit(X_IRIS, NAMES)
    assert len(stopped.net_.history[:, "accuracy"]) == stopped.n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_in_a_callback_is_an_interrupt(solver):
    acting = Acting(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        interrupted = classifier(acting, solver=solver).fit(X_IRIS, NAMES)
    # An iteration of L-BFGS is over when its point is accepted. An epoch is over when all
    # callbacks have seen it.
    finished = classifier(solver=solver, max_iter=3 if solver == "lbfgs" else 2)
    assert_same_model(interrupted, finished.fit(X_IRIS, NAMES))
    assert acting.names[-2:] == [("end", "fit"), ("teardown", "fit")]


def attributes(estimator):
    """Return the identities of the objects that an estimator holds."""
    return {name: id(value) for name, value in vars(estimator).items()}


def fail():
    raise LookupError("broken")


@pytest.mark.matrix
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    "where",
    [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        ("begin", "epoch", 2),
        ("end", "epoch", 2),
        ("end", "fit", 0),
    ],
    ids=str,
)
def test_error_in_a_callback_leaves_the_fitted_model_and_is_followed_by_teardown(where, solver):
    acting = Acting(fail, where)
    estimator = classifier(solver=solver).fit(X_IRIS, NAMES).set_callbacks(acting)
    before = attributes(estimator)
    with pytest.raises(LookupError, match="broken"):
        estimator.fit(X_IRIS, NAMES)
    assert attributes(estimator) == before
    assert [what for what, _ in acting.names].count("teardown") == 1
    estimator.set_callbacks().fit(X_IRIS, NAMES)


def test_teardown_follows_data_that_cannot_be_used():
    recording = Recording()
    with pytest.raises(ValueError, match="NaN"):
        classifier(recording).fit(np.full_like(X_IRIS, np.nan), NAMES)
    assert recording.names[-1] == ("teardown", "fit")


@pytest.mark.parametrize("callback", [EpochTimer(), EpochTimer], ids=["instance", "class"])
def test_callback_of_skorch_is_an_error_that_names_its_door(callback):
    message = r"set_callbacks takes scikit-learn callbacks.*\(callbacks=\[\.\.\.\]\)"
    for estimator in (FeedForwardClassifier(), FeedForwardRegressor()):
        with pytest.raises(TypeError, match=message):
            estimator.set_callbacks(Recording(), callback)
        assert not hasattr(estimator, "_skl_callbacks")


@pytest.mark.parametrize("callback", ["a name", None, print, Recording], ids=str)
def test_what_is_no_callback_is_an_error(callback):
    with pytest.raises(TypeError, match="callbacks must be instances"):
        FeedForwardClassifier().set_callbacks(callback)


# --- scikit-learn's own callbacks -------------------------------------------------------------


def rows_of(monitor, task_name, **options):
    return [row for row in monitor.get_logs(**options).data if row["task_name"] == task_name]


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("target", "scoring"),
    [
        ("multiclass", ["accuracy", "neg_log_loss"]),
        ("multilabel", "f1_macro"),
        ("one output", ["r2", "neg_mean_absolute_error"]),
        ("two outputs", "r2"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scoring_monitor_logs_the_scores_of_every_epoch(solver, target, scoring):
    X, y = TARGETS[target]
    y = NAMES if target == "multiclass" else y
    kind = FeedForwardRegressor if "output" in target else FeedForwardClassifier
    monitor = ScoringMonitor(scoring=scoring)
    estimator = kind(**SMALL, solver=solver).set_callbacks(monitor).fit(X, y)
    rows = rows_of(monitor, "epoch")
    assert [row["task_id_path"] for row in rows] == [(0, n) for n in range(estimator.n_iter_)]
    for n_epochs, row in enumerate(rows, 1):
        reference = kind(**{**SMALL, "max_iter": n_epochs}, solver=solver).fit(X, y)
        for name in np.atleast_1d(scoring):
            assert row[name] == get_scorer(name)(reference, X, y)
    (whole,) = rows_of(monitor, "fit")
    for name in np.atleast_1d(scoring):
        assert whole[name] == rows[-1][name] == get_scorer(name)(estimator, X, y)


def test_scoring_monitor_weighs_by_sample_weight():
    weight = np.random.RandomState(0).randint(1, 20, len(NAMES)).astype(float)
    monitor = ScoringMonitor(scoring="accuracy")
    estimator = classifier(monitor).fit(X_IRIS, NAMES, weight)
    weighted = estimator.score(X_IRIS, NAMES, weight)
    assert rows_of(monitor, "epoch")[-1]["accuracy"] == weighted
    assert weighted != estimator.score(X_IRIS, NAMES)


def test_scoring_monitor_with_early_stopping_ends_with_the_score_of_the_model():
    monitor = ScoringMonitor(scoring="neg_log_loss")
    estimator = classifier(monitor, early_stopping=True, max_iter=6).fit(X_IRIS, NAMES)
    assert rows_of(monitor, "fit")[0]["neg_log_loss"] == get_scorer("neg_log_loss")(
        estimator, X_IRIS, NAMES
    )
    assert len(rows_of(monitor, "epoch")) == estimator.n_iter_


def test_scoring_monitor_in_a_pipeline_scores_the_last_step():
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), classifier(monitor)).fit(X_IRIS, NAMES)
    rows = rows_of(monitor, "epoch")
    assert [row["task_id_path"] for row in rows] == [(0, 1, n) for n in range(4)]
    assert rows[-1]["accuracy"] == pipeline.score(X_IRIS, NAMES)
    lineage = monitor.get_logs(include_lineage=True).data
    assert lineage[0]["estimator_name"] == "Pipeline"
    assert not hasattr(pipeline[-1], "_parent_callback_ctx")


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_scoring_monitor_in_a_grid_search_scores_all_fits(n_jobs):
    monitor = ScoringMonitor(scoring="accuracy")
    search = GridSearchCV(
        classifier(monitor), {"alpha": [1e-4, 1.0]}, cv=3, n_jobs=n_jobs, return_train_score=True
    ).fit(X_IRIS, NAMES)
    lineage = monitor.get_logs(include_lineage=True).data
    assert lineage[0]["estimator_name"] == "GridSearchCV"
    epochs = [row for row in lineage if row["task_name"] == "epoch"]
    assert len(epochs) == 4 * (2 * 3 + 1)
    last = [row["accuracy"] for row in epochs if row["task_id"] == 3]
    scores = [search.cv_results_[f"split{split}_train_score"] for split in range(3)]
    refitted = search.best_estimator_.score(X_IRIS, NAMES)
    assert sorted(last) == pytest.approx(sorted([*np.ravel(scores), refitted]))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_propagated_callback_is_told_of_epochs_inside_of_other_estimators(solver):
    callback = Propagated()
    pipeline = make_pipeline(StandardScaler(), classifier(solver=solver))
    search = GridSearchCV(pipeline, {"feedforwardclassifier__alpha": [1e-4, 1.0]}, cv=2)
    search.set_callbacks(callback).fit(X_IRIS, NAMES)
    assert callback.names.count(("setup", "fit")) == 1
    assert callback.names.count(("teardown", "fit")) == 1
    assert callback.names.count(("end", "epoch")) == 4 * (2 * 2 + 1)
    assert not hasattr(search.best_estimator_[-1], "_skl_callbacks")


def bars_of(estimator, capsys):
    """Return what scikit-learn's progress bar has printed when it is complete."""
    pytest.importorskip("rich")
    estimator.set_callbacks(sklearn_callback.ProgressBar(max_propagation_depth=None))
    estimator.fit(X_IRIS, NAMES)
    return capsys.readouterr().out


@pytest.fixture
def wide(monkeypatch):
    """Make the terminal so wide that no bar is cut short."""
    monkeypatch.setenv("COLUMNS", "200")
    # Rich keeps one console, which has read the width when some earlier test made it.
    monkeypatch.setattr(pytest.importorskip("rich"), "_console", None)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"tol": 10.0, "max_iter": 100}],
    ids=str,
)
def test_progress_bar_is_full_at_the_end(wide, capsys, parameters):
    printed = bars_of(classifier(**parameters), capsys)
    assert "FeedForwardClassifier - fit" in printed
    assert "100%" in printed


@pytest.mark.parametrize(
    ("outer", "n_jobs"),
    [
        ("pipeline", None),
        ("grid search", 1),
        pytest.param("grid search", 2, marks=pytest.mark.long),
    ],
)
def test_progress_bar_inside_of_other_estimators(wide, capsys, outer, n_jobs):
    estimator = make_pipeline(StandardScaler(), classifier())
    names = ["Pipeline - fit", "fit-final-estimator | FeedForwardClassifier - fit #1"]
    if outer == "grid search":
        grid = {"alpha": [1e-4, 1.0]}
        estimator = GridSearchCV(classifier(), grid, cv=2, n_jobs=n_jobs)
        names = ["GridSearchCV - fit"]
        names += ["candidate-split-evaluation | FeedForwardClassifier - fit #3"]
        names += ["refit-with-best-params | FeedForwardClassifier - fit #1"]
    printed = bars_of(estimator, capsys)
    for name in names:
        (line,) = [line for line in printed.splitlines() if f"{name} " in line]
        assert "100%" in line


def test_progress_bar_ends_after_an_error():
    pytest.importorskip("rich")
    bar = sklearn_callback.ProgressBar()
    with pytest.raises(LookupError, match="broken"):
        classifier(bar, Acting(fail)).fit(X_IRIS, NAMES)
    assert bar._listener_handles == {}


@pytest.mark.parametrize(
    "parameters",
    [{}, {"solver": "lbfgs"}, {"early_stopping": True, "scoring": "accuracy"}],
    ids=str,
)
def test_monitor_of_a_frame_does_not_warn_of_its_names(parameters):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X_IRIS, columns=list("abcd"))
    monitor = ScoringMonitor(scoring="accuracy")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="X ")
        estimator = classifier(monitor, **parameters).fit(frame, NAMES)
    assert list(estimator.feature_names_in_) == list("abcd")
