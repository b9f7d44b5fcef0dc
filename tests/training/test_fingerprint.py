"""Some changes of data, parameters or code make a training another one, and others do not."""

from __future__ import annotations

import functools
import sys
import textwrap
import tracemalloc
import types
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch
from checkpoints import classifier, files, kill, killed_after, made_for, run
from conftest import TARGETS
from skorch.callbacks import Callback, EpochScoring, LRScheduler

import sknn
from sknn._training import _checkpoint, _fingerprint
from sknn._training._fingerprint import _Description

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, SPECIES = TARGETS["multiclass"]
WEIGHT = np.random.RandomState(0).rand(150)


def name_of(estimator, *data, **more):
    """Return the name of the file that a fit would make, without training."""
    names = []

    class Stop(Exception):
        pass

    def look(net, file):
        names.append(file.path.name)
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sknn._training._stochastic.go_on", look)
        with pytest.raises(Stop):
            estimator.fit(*data, **more)
    return names[0]


# --- data -------------------------------------------------------------------------------------


def with_one_bit_changed(array, row):
    array = array.copy()
    array.view(np.uint8).reshape(len(array), -1)[row, 0] ^= 1
    return array


OTHER_DATA = {
    "rows": lambda X, y: ((with_one_bit_changed(X, 149), y), {}),
    "first row": lambda X, y: ((with_one_bit_changed(X, 0), y), {}),
    "fewer rows": lambda X, y: ((X[:-1], y[:-1]), {}),
    "order of rows": lambda X, y: ((X[::-1], y[::-1]), {}),
    "labels": lambda X, y: ((X, np.roll(y, 1)), {}),
    "names of labels": lambda X, y: ((X, y + 1), {}),
    "strings": lambda X, y: ((X, y.astype(str)), {}),
    "objects": lambda X, y: ((X, np.array(["a", "b", "c"], dtype=object)[y]), {}),
    "precision": lambda X, y: ((X.astype(np.float32), y), {}),
    "weights": lambda X, y: ((X, y, WEIGHT), {}),
    "other weights": lambda X, y: ((X, y, with_one_bit_changed(WEIGHT, 3)), {}),
    "sparse": lambda X, y: ((scipy.sparse.csr_matrix(X), y), {}),
    "validation": lambda X, y: ((X, y), {"X_val": X[:9], "y_val": y[:9]}),
    "validation rows": lambda X, y: ((X, y), {"X_val": X[1:10], "y_val": y[:9]}),
    "validation labels": lambda X, y: ((X, y), {"X_val": X[:9], "y_val": y[60:69]}),
    "validation weights": lambda X, y: (
        (X, y),
        {"X_val": X[:9], "y_val": y[:9], "sample_weight_val": WEIGHT[:9]},
    ),
}


def test_other_data_have_another_name(tmp_path):
    names = [name_of(classifier(tmp_path), X_IRIS, SPECIES)]
    for change in OTHER_DATA.values():
        data, more = change(X_IRIS, SPECIES)
        names.append(name_of(classifier(tmp_path), *data, **more))
    assert len(set(names)) == len(names) == 1 + len(OTHER_DATA)


@pytest.mark.matrix(8)
@pytest.mark.parametrize("what", OTHER_DATA)
def test_other_data_never_pick_the_file_up(what, tmp_path):
    kill(classifier(tmp_path), 9, X_IRIS, SPECIES)
    kept = files(tmp_path)
    data, more = OTHER_DATA[what](X_IRIS, SPECIES)
    with killed_after(None) as counted:
        classifier(tmp_path).fit(*data, **more)
    assert counted.n_epochs == 24
    assert files(tmp_path) == kept


def test_same_data_held_otherwise_have_the_same_name(tmp_path):
    expected = name_of(classifier(tmp_path), X_IRIS, SPECIES)
    array = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", X_IRIS.dtype, X_IRIS.shape)
    array[:] = X_IRIS
    array.flush()
    for X in (X_IRIS.copy(), np.asfortranarray(X_IRIS), array, X_IRIS.tolist()):
        assert name_of(classifier(tmp_path), X, SPECIES) == expected
    assert name_of(classifier(tmp_path), X_IRIS, SPECIES.tolist()) == expected
    assert name_of(classifier(tmp_path), np.load(tmp_path / "X.npy", "r"), SPECIES) == expected


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_naming_data_makes_no_copy_of_them(make):
    X = make(np.random.default_rng(0).random((20_000, 100)))
    tracemalloc.start()
    described(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6  # The data take 16 MB or more.


# --- parameters -------------------------------------------------------------------------------


def loss(raw, y):
    return torch.nn.functional.cross_entropy(raw, y)


def squared(raw, y):
    return 2 * torch.nn.functional.cross_entropy(raw, y)


def accuracy(estimator, X, y):
    return estimator.score(X, y)


OTHER_PARAMETERS = {
    "hidden_layer_sizes": [(8, 7), (6, 8)],
    "activation": ["tanh", ["relu", "tanh"], torch.nn.PReLU, lambda: torch.nn.PReLU(init=0.5)],
    "solver": ["sgd", torch.optim.NAdam, functools.partial(torch.optim.NAdam, weight_decay=0.1)],
    "alpha": [0.5],
    "batch_size": [30],
    "learning_rate": [
        "cosine",
        functools.partial(torch.optim.lr_scheduler.StepLR, step_size=5),
        functools.partial(torch.optim.lr_scheduler.StepLR, step_size=6),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 5),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 6),
    ],
    "learning_rate_init": [0.03],
    "max_iter": [25],
    "shuffle": [False],
    "random_state": [4],
    "tol": [0.1],
    "early_stopping": [True],
    "beta_1": [0.5],
    "n_iter_no_change": [3],
    "dropout": [0.1, [0.1, 0.2]],
    "input_dropout": [0.1],
    "normalization": ["batch"],
    "warmup_fraction": [0.1],
    "max_grad_norm": [1.0],
    "dtype": ["float32"],
    "loss": ["focal", loss, squared],
    "label_smoothing": [0.1],
    "n_members": [2, 3],
    "class_weight": ["balanced", {0: 2.0}, {1: 2.0}],
    "callbacks": [
        [EpochScoring("accuracy")],
        [EpochScoring("f1_macro")],
        [LRScheduler("StepLR", step_size=3)],
        [LRScheduler("StepLR", step_size=4)],
    ],
}


def test_other_parameters_have_another_name(tmp_path):
    names = [name_of(classifier(tmp_path), X_IRIS, SPECIES)]
    for name, values in OTHER_PARAMETERS.items():
        for value in values:
            names.append(name_of(classifier(tmp_path, **{name: value}), X_IRIS, SPECIES))
    assert len(set(names)) == len(names)


def test_every_parameter_counts_but_for_four(tmp_path):
    """Each parameter is given a value of another kind without being validated."""
    estimator = classifier(tmp_path)
    settings = {**estimator.get_params(), "checkpoint_dir": tmp_path}
    problem = SimpleNamespace(
        X=X_IRIS,
        y=SPECIES,
        labels=SPECIES,
        sample_weight=None,
        validation=None,
    )
    progress = SimpleNamespace(n=0)
    state = SimpleNamespace(coefs=[], intercepts=[], modules=None, progress=progress)

    def name(device="cpu", changes=None):
        return sknn._training._fingerprint.fingerprint(
            problem, state, {**settings, **(changes or {})}, device
        )

    unchanged = {p for p in settings if name(changes={p: "something else"}) == name()}
    assert unchanged == {"checkpoint_dir", "checkpoint_every", "process_group", "verbose"}
    names = [name(), name("cuda")]
    progress.n = 1
    names.append(name())
    state.modules = {"normalization0.weight": np.ones(3)}
    names.append(name())
    assert len(set(names)) == 4


@pytest.mark.matrix(2)
@pytest.mark.parametrize(
    "changes",
    [{"alpha": 0.5}, {"max_iter": 30}, {"dropout": 0.1}, {"random_state": 4}, {"loss": "focal"}],
    ids=str,
)
def test_other_parameters_never_pick_the_file_up(changes, tmp_path):
    kill(classifier(tmp_path), 9, X_IRIS, SPECIES)
    kept = files(tmp_path)
    with killed_after(None) as counted:
        estimator = classifier(tmp_path, **changes).fit(X_IRIS, SPECIES)
    assert counted.n_epochs == estimator.n_iter_
    assert files(tmp_path) == kept


def test_interval_directory_and_verbosity_may_change(tmp_path):
    names = {
        name_of(classifier(tmp_path / d, checkpoint_every=n, verbose=v), X_IRIS, SPECIES)
        for d, n, v in (("a", 1, False), ("b", 7, True), ("c", 2, "progress"))
    }
    assert len(names) == 1


def test_another_version_or_format_has_another_name(tmp_path, monkeypatch):
    names = [name_of(classifier(tmp_path), X_IRIS, SPECIES)]
    for module in (_fingerprint, torch):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "99")
            names.append(name_of(classifier(tmp_path), X_IRIS, SPECIES))
    assert len(set(names)) == 3
    assert isinstance(_checkpoint.FORMAT, int)


def test_scorers_and_optimizers_of_libraries_have_names(tmp_path):
    for scoring in ("roc_auc_ovr", "loss", accuracy):
        make = functools.partial(classifier, tmp_path, early_stopping=True, scoring=scoring)
        assert name_of(make(), X_IRIS, SPECIES) == name_of(make(), X_IRIS, SPECIES)


def test_parameter_that_cannot_be_named_is_refused(tmp_path):
    with open(tmp_path / "log", "w") as file:

        def factory():
            file.write("made")
            return torch.nn.ReLU()

        with pytest.raises(ValueError, match="'activation' parameter.*checkpoint_dir") as error:
            classifier(tmp_path, activation=factory).fit(X_IRIS, SPECIES)
    assert "Pass a function or class that is defined in a module" in str(error.value)
    assert files(tmp_path) == ["log"]


# --- the starting point -----------------------------------------------------------------------


def test_another_starting_point_never_picks_the_file_up(tmp_path):
    def started(n_epochs, **parameters):
        first = classifier(None, max_iter=n_epochs, warm_start=True, **parameters)
        first.fit(X_IRIS, SPECIES)
        return first.set_params(max_iter=24, checkpoint_dir=tmp_path)

    names = [name_of(started(n), X_IRIS, SPECIES) for n in (1, 2)]
    names.append(name_of(classifier(tmp_path, warm_start=True), X_IRIS, SPECIES))
    edited = started(2)
    edited.coefs_[0][0, 0] += 1e-12
    names.append(name_of(edited, X_IRIS, SPECIES))
    edited = started(2)
    edited.intercepts_[1][0] += 1e-12
    names.append(name_of(edited, X_IRIS, SPECIES))
    edited = started(2)
    edited._no_improvement_count += 1
    names.append(name_of(edited, X_IRIS, SPECIES))
    assert len(set(names)) == 6
    kill(started(2), 9, X_IRIS, SPECIES)
    for n, n_epochs in ((1, 24), (2, 24 - 8)):
        estimator = started(n)
        with killed_after(None) as counted:
            estimator.fit(X_IRIS, SPECIES)
        assert counted.n_epochs == n_epochs


def test_times_of_the_epochs_before_do_not_count(tmp_path):
    names = set()
    for _ in range(2):
        estimator = classifier(None, max_iter=3, warm_start=True).fit(X_IRIS, SPECIES)
        estimator.set_params(checkpoint_dir=tmp_path)
        estimator._history[0]["dur"] *= 2
        names.add(name_of(estimator, X_IRIS, SPECIES))
    assert len(names) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_classifier_and_regressor_name_every_target(target, tmp_path):
    make = functools.partial(made_for, target, tmp_path)
    assert name_of(make(), *TARGETS[target]) == name_of(make(), *TARGETS[target])


# --- values -----------------------------------------------------------------------------------


def described(value):
    return repr(_Description().of(value))


def compiled(code, name):
    namespace = {"__name__": "written_by_hand"}
    exec(textwrap.dedent(code), namespace)  # noqa: S102 (a module of the test)
    return namespace[name]


CLASS = """
import torch
class Act(torch.nn.Module):
    slope = {slope}
    def __init__(self):
        super().__init__()
    def forward(self, x):
        return x * {factor}
    @staticmethod
    def also():
        return {other}
"""


@pytest.mark.parametrize(
    "template, changes",
    [
        ("def f(x, y={default}):\n    return x + {one} if x else [i * {two} for i in y]", 3),
        ("def f(x, *, y={default}):\n    def g():\n        return {one}, {two}\n    return g", 3),
        ("f = lambda x: (x, {default}, {one}, {two})", 3),
        ("def f(x): return x in {{{default}, {one}, {two}}}", 3),
    ],
)
def test_functions_are_named_by_their_code(template, changes):
    values = {"default": 1, "one": 2, "two": 3}
    same = [described(compiled(template.format(**values), "f")) for _ in range(2)]
    assert same[0] == same[1]
    for name in values:
        other = described(compiled(template.format(**{**values, name: 77}), "f"))
        assert other != same[0]


def test_classes_are_named_by_their_code():
    values = {"slope": 1, "factor": 2, "other": 3}
    same = [described(compiled(CLASS.format(**values), "Act")) for _ in range(2)]
    assert same[0] == same[1]
    for name in values:
        assert described(compiled(CLASS.format(**{**values, name: 77}), "Act")) != same[0]


def test_functions_are_named_by_what_they_are_bound_to():
    def times(factor):
        return lambda x: x * factor

    assert described(times(2)) == described(times(2))
    assert described(times(2)) != described(times(3))
    assert described(times(np.arange(3))) != described(times(np.arange(4)))
    recursive = times(None)
    recursive.__closure__[0].cell_contents = recursive
    assert described(recursive)


def test_unequal_values_have_unequal_descriptions():
    values = [
        None, True, 1, 1.0, "1", b"1", "None", 1j, [1], (1,), {1}, {1: 1}, {"1": 1}, [[1]], [1, 1],
        np.arange(3), np.arange(3.0), np.arange(3)[:, None], np.arange(3, dtype=np.int32),
        np.float64(1), torch.ones(1), torch.float32, torch.relu, torch.nn.ReLU, len, np.log1p,
        "".join, scipy.sparse.eye(3).tocsr(), scipy.sparse.eye(4).tocsr(), range(3), range(4),
        types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), slice(1, 2), Ellipsis,
        EpochScoring("accuracy").__init__,
    ]  # fmt: skip
    texts = [described(value) for value in values]
    assert len(set(texts)) == len(texts)


def test_order_of_dicts_and_sets_does_not_count():
    assert described({"a": 1, "b": 2}) == described({"b": 2, "a": 1})
    forward, backward = set(range(0, 9999, 1000)), set(range(9000, -1, -1000))
    assert described(forward) == described(backward)
    assert described(frozenset("abc")) == described(frozenset("cba"))


def test_callbacks_count_by_class_and_plain_attributes(tmp_path):
    class Own(Callback):
        def __init__(self, number, sink):
            self.number = number
            self.sink = sink

    def name(*callbacks):
        return name_of(classifier(tmp_path, callbacks=list(callbacks)), X_IRIS, SPECIES)

    assert name(Own(1, object())) == name(Own(1, object()))
    assert name(Own(1, None)) != name(Own(2, None))
    assert name(Own(np.int64(1), None)) != name(Own(np.int64(2), None))
    assert name(Own({"a": [1]}, None)) != name(Own({"a": [2]}, None))
    assert name(("a", Own(1, None))) != name(("b", Own(1, None)))
    assert name(Callback) != name()


@pytest.mark.long
def test_name_is_the_same_in_another_process(tmp_path):
    code = """
import torch
from functools import partial
from sklearn.metrics import make_scorer, f1_score
class Act(torch.nn.Module):
    def forward(self, x):
        return x if {"a", "b", "c", "d"} else -x
def scorer(estimator, X, y):
    return estimator.score(X, y)
import sknn._training._stochastic
def look(net, file):
    print(file.path.name)
    os._exit(0)
sknn._training._stochastic.go_on = look
sys.stdout.reconfigure(write_through=True)
make(sys.argv[1]).set_params(
    activation=[lambda: Act()] * 1, scoring=make_scorer(f1_score, average="macro"),
    learning_rate=lambda o: torch.optim.lr_scheduler.StepLR(o, 5),
    solver=partial(torch.optim.SGD, momentum=0.9), class_weight={0: 1.0, 1: 2.0, 2: 1.0},
).fit(X, y)
"""
    names = {run(code, tmp_path) for _ in range(2)}
    assert len(names) == 1 and names.pop().startswith("sknn-")


RATE = 0.5
SEEN = []


def scorer_with_a_rate(estimator, X, y):
    SEEN.append(1)
    return RATE


def test_constants_that_a_function_reads_count_and_its_lists_do_not(tmp_path, monkeypatch):
    def name():
        return name_of(classifier(tmp_path, scoring=scorer_with_a_rate), X_IRIS, SPECIES)

    before = name()
    monkeypatch.setattr(sys.modules[__name__], "SEEN", [1, 2])
    assert name() == before
    monkeypatch.setattr(sys.modules[__name__], "RATE", 0.25)
    assert name() != before


def bound_to(value):
    def function(x):
        return x, value

    return function


def test_modules_properties_and_empty_cells_have_descriptions():
    assert described(bound_to(np)) != described(bound_to(sys))

    def made(name):
        code = f"class Made:\n    @property\n    def rate(self):\n        return {name}\n"
        return described(compiled(code, "Made"))

    assert made("1.0") == made("1.0") != made("2.0")

    def recursive(x):
        return later(x)

    empty = described(recursive)
    later = np.sin
    assert described(recursive) != empty


def test_tuples_that_a_function_reads_count(monkeypatch):
    def of(constant):
        namespace = {"__name__": "written_by_hand", "RATES": constant}
        exec("def act(x):\n    return x * RATES[0]", namespace)  # noqa: S102 (code of the test)
        return described(namespace["act"])

    assert of((1.0, 2.0)) == of((1.0, 2.0)) != of((1.0, 3.0))


def test_exception_of_a_signal_amid_plain_parameters_is_raised_as_it_is(monkeypatch):
    def interrupted(self, value):
        raise KeyError("the exception of a signal's handler")

    monkeypatch.setattr(sknn._training._fingerprint._Description, "of", interrupted)
    with pytest.raises(KeyError, match="of a signal's handler"):
        sknn._training._fingerprint._of_parameter("hidden_layer_sizes", (4, 3))
