"""The user's device is used, refused, or, for a loaded model, replaced if it is absent.

Every test of a device runs on the CPU and on each accelerator that is present. The stand-in of
`accelerator.py` counts how often the host would wait for an accelerator, and needs none.
"""

from __future__ import annotations

import gc
import pickle
import runpy
import warnings
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import scipy.sparse
import torch
from accelerator import META, Accelerator, stand_in
from conftest import TARGETS, assert_bit_equal, case
from numpy.testing import assert_allclose, assert_array_equal

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._data import _device_transfers, _rows
from sknn._data._device_transfers import Transfer
from sknn._network._parameters import FlatParameters
from sknn._platform import _devices
from sknn._platform._devices import ACCELERATE_FROM, SHARE_OF_MEMORY, is_present, resolve_device
from sknn._training import _train
from sknn._training._epoch import Trainer

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["cuda", "mps"]
DEVICES = ["cpu", *[name for name in KINDS if is_present(name)]]
ABSENT = [name for name in (*KINDS, "xpu") if not is_present(name)]
X, y = TARGETS["multiclass"]
X = X.astype(np.float32)
WEIGHT = np.linspace(0.5, 2.0, len(X)).astype(np.float32)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower"),
]
each_device = pytest.mark.parametrize("device", DEVICES)


def classifier(device="cpu", **parameters):
    parameters = {"max_iter": 20, "random_state": 0, "batch_size": 20} | parameters
    return FeedForwardClassifier(device=device, **parameters)


def assert_near(model, expected, atol=1e-3):
    assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=0, atol=atol)


# --- on every device that is present ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_accelerator_runs_the_tests_of_this_file(kind):
    if not is_present(kind):
        pytest.skip(f"no {kind} device: run these tests on a machine that has one")
    assert classifier(kind, max_iter=1).fit(X, y).device_ == kind


@pytest.mark.matrix(6)
@each_device
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam"},
        {"solver": "adamw"},
        {"solver": "sgd"},
        {"solver": "lbfgs"},
        {"solver": torch.optim.RMSprop},
        {"early_stopping": True},
        {"normalization": "layer"},
        {"max_grad_norm": 0.1},
        {"learning_rate": "cosine"},
        {"activation": "gelu", "loss": "focal"},
        {"n_members": 3, "max_grad_norm": 0.1, "early_stopping": True},
    ],
    ids=case,
)
def test_fit_on_a_device_learns_what_the_cpu_learns(device, parameters):
    model = classifier(device, **parameters).fit(X, y)
    assert model.device_ == device
    assert_near(model, classifier(**parameters).fit(X, y))
    assert_array_equal(model.predict(X), model.classes_[model.predict_proba(X).argmax(1)])


@each_device
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_dtypes_on_a_device(device, dtype):
    if device == "mps" and dtype == "float64":
        pytest.skip("MPS has no float64")
    model = classifier(device, dtype=dtype).fit(X, y)
    assert model.coefs_[0].dtype == (np.float64 if dtype == "float64" else np.float32)
    assert_near(model, classifier().fit(X, y), atol=0.1 if dtype == "bfloat16" else 1e-3)


@each_device
@pytest.mark.parametrize("n_members", [1, 3])
def test_dropout_on_a_device_is_repeatable_and_learns(device, n_members):
    model, again = (
        classifier(device, dropout=0.2, max_iter=60, n_members=n_members).fit(X, y)
        for _ in range(2)
    )
    assert_near(model, again, atol=1e-5)
    assert model.score(X, y) > 0.8


@each_device
def test_partial_fit_continues_after_pickling_as_without(device):
    def three_epochs(model):
        for _ in range(3):
            model.partial_fit(X, y, classes=[0, 1, 2])
        return model

    model = three_epochs(classifier(device))
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.device_ == device
    assert_near(three_epochs(loaded), three_epochs(model), atol=1e-6)


@each_device
def test_warm_start_on_a_device_continues(device):
    model, expected = (classifier(name, warm_start=True, max_iter=5) for name in (device, "cpu"))
    for _ in range(2):
        assert_near(model.fit(X, y), expected.fit(X, y))


@each_device
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", ["sparse", "streamed"])
def test_rows_that_are_moved_in_chunks_give_the_model_of_those_moved_whole(
    device, rows, weighted, monkeypatch
):
    weight = WEIGHT if weighted else None
    expected = classifier(device).fit(X, y, sample_weight=weight)
    if rows == "sparse":
        model = classifier(device).fit(scipy.sparse.csr_matrix(X), y, sample_weight=weight)
    else:
        monkeypatch.setattr(_rows, "fits", lambda n_bytes, device: False)
        model = classifier(device).fit(X, y, sample_weight=weight)
    assert_bit_equal(model, expected) if device == "cpu" else assert_near(model, expected)
    assert_near(model, expected, atol=1e-6)


@each_device
@pytest.mark.parametrize("target", ["one output", "multiclass", "multilabel"])
def test_targets_that_do_not_fit_are_moved_in_chunks(device, target, monkeypatch):
    data, targets = TARGETS[target]
    kind = FeedForwardRegressor if target == "one output" else FeedForwardClassifier
    model = kind(max_iter=3, random_state=0, device=device)
    data = data.astype(np.float32)
    expected = model.fit(data, targets).loss_curve_
    monkeypatch.setattr(_rows, "fits", lambda n_bytes, device: False)
    assert_allclose(model.fit(data, targets).loss_curve_, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_given_back_after_fit(kind):
    if not is_present(kind):
        pytest.skip(f"no {kind} device: run this test on a machine that has one")
    used = {"cuda": torch.cuda.memory_allocated, "mps": torch.mps.current_allocated_memory}[kind]
    classifier(kind).fit(X, y)
    gc.collect()
    before = used()
    classifier(kind, hidden_layer_sizes=(1000, 1000), max_iter=2).fit(X, y)
    assert used() == before


# --- the choice of the device ---------------------------------------------------------------------


@pytest.mark.parametrize("device", [*ABSENT, "cuda:99", "meta", "gpu", "", "cpu:x"])
def test_absent_device_is_an_error_before_training(device):
    data, targets = TARGETS["one output"]
    estimator = FeedForwardRegressor(device=device)
    with pytest.raises(ValueError, match="'device' parameter") as error:
        estimator.fit(data, targets)
    assert repr(device) in str(error.value)
    assert "'auto'" in str(error.value)
    assert not hasattr(estimator, "coefs_")


def test_auto_device_is_one_that_is_present():
    estimator = FeedForwardClassifier(device="auto", max_iter=2).fit(X, y)
    assert estimator.device_ in DEVICES


def test_auto_device_is_an_accelerator_for_large_steps_only(monkeypatch):
    monkeypatch.setattr(_devices, "is_present", lambda name: True)
    assert resolve_device("auto", torch.float32, ACCELERATE_FROM).type == "cuda"
    assert resolve_device("auto", torch.float32, 0.99 * ACCELERATE_FROM).type == "cpu"
    assert resolve_device("cuda", torch.float32, 0.0).type == "cuda"  # A named device is used.
    monkeypatch.setattr(_devices, "is_present", lambda name: name == "cpu")
    assert resolve_device("auto", torch.float32, ACCELERATE_FROM).type == "cpu"


@pytest.mark.parametrize(
    ("parameters", "is_large"),
    [
        ({}, False),
        ({"hidden_layer_sizes": (2000,), "batch_size": 150}, False),
        ({"hidden_layer_sizes": (2000, 2000), "batch_size": 150}, True),
    ],
)
def test_auto_device_depends_on_the_operations_of_a_step(parameters, is_large, monkeypatch):
    seen = []
    monkeypatch.setattr(
        _train,
        "resolve_device",
        lambda name, dtype, flops: seen.append(flops) or torch.device("cpu"),
    )
    classifier("auto", max_iter=1, **parameters).fit(X, y)
    assert (seen[0] >= ACCELERATE_FROM) == is_large


def test_auto_device_is_never_mps_for_float64(monkeypatch):
    monkeypatch.setattr(_devices, "is_present", lambda name: name in ("cpu", "mps"))
    assert resolve_device("auto", torch.float64, ACCELERATE_FROM).type == "cpu"
    assert resolve_device("auto", torch.float32, ACCELERATE_FROM).type == "mps"
    with pytest.raises(ValueError, match="does not support float64"):
        resolve_device("mps", torch.float64, 0.0)


@pytest.mark.long
def test_example_and_page_state_the_limit_of_auto(capsys):
    example = runpy.run_path(str(ROOT / "examples" / "choose_device.py"))
    assert example["ENOUGH"] == ACCELERATE_FROM
    example["main"].__globals__["N_EPOCHS"] = 1
    with warnings.catch_warnings():
        example["main"]()
    assert "small: on 'cpu'" in capsys.readouterr().out
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    assert f"{ACCELERATE_FROM / 1e6:.0f} million operations" in page
    assert SHARE_OF_MEMORY == 0.5  # The page says "half".


@each_device
def test_device_of_parameters_is_the_one_that_was_named(device):
    assert str(FlatParameters((2, 1), dtype=torch.float32, device=device).device) == device


def loaded_elsewhere():
    """Return a loaded model whose device is absent, and its predictions before it was saved."""
    model = classifier(warm_start=True).fit(X, y)
    probabilities = model.predict_proba(X)
    model.device_ = model.device = "cuda:99"
    return pickle.loads(pickle.dumps(model)), probabilities


def test_loaded_model_whose_device_is_absent_predicts_on_the_cpu():
    loaded, expected = loaded_elsewhere()
    assert loaded.device_ == "cpu"
    assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_loaded_model_whose_device_is_absent_learns_where_the_user_says(method):
    loaded, expected = loaded_elsewhere()
    with pytest.raises(ValueError, match="'cuda:99', which torch .* device='cpu'"):
        getattr(loaded, method)(X, y)
    assert_array_equal(loaded.predict_proba(X), expected)
    getattr(loaded.set_params(device="cpu"), method)(X, y)
    assert loaded.device_ == "cpu"


# --- what the host waits for ----------------------------------------------------------------------


@pytest.fixture
def traffic(monkeypatch):
    """Return a function that fits, and returns the reads and sends of one epoch."""
    stand_in(monkeypatch)

    def of_an_epoch(model, *data, **weights):
        accelerator, begins = Accelerator(), []
        epoch = Trainer.epoch

        def noted(trainer, train_on=None):
            begins.append((len(accelerator.reads), len(accelerator.sends)))
            return epoch(trainer, train_on)

        monkeypatch.setattr(Trainer, "epoch", noted)
        with accelerator:
            model.set_params(max_iter=3, random_state=0).fit(*data, **weights)
        assert model.device_ == "meta"
        (reads, sends), (next_reads, next_sends) = begins[1:]
        return accelerator.reads[reads:next_reads], accelerator.sends[sends:next_sends]

    return of_an_epoch


@pytest.mark.matrix(9)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        pytest.param({"batch_size": 1}, marks=pytest.mark.long),
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "adamw", "max_grad_norm": 1.0},
        {"solver": torch.optim.Adam},
        {"solver": torch.optim.NAdam},
        {"learning_rate": "cosine", "warmup_fraction": 0.1, "alpha": 0.0},
        {"learning_rate": "one_cycle", "dropout": 0.2, "input_dropout": 0.1},
        {"normalization": "batch"},
        {"normalization": "layer", "dropout": 0.2},
        {"activation": ["gelu", torch.nn.Softsign], "hidden_layer_sizes": (9, 9)},
        {"n_members": 3, "dropout": 0.2, "input_dropout": 0.1, "max_grad_norm": 1.0},
        {"n_members": 2, "normalization": "batch", "label_smoothing": 0.1},
        {"n_members": 2, "activation": torch.nn.PReLU, "loss": "focal"},
        {"dtype": "bfloat16"},
        {"loss": "focal", "label_smoothing": 0.1},
        {"loss": lambda raw, target: (raw - target).square().sum(1)},
    ],
    ids=case,
)
def test_epoch_reads_the_loss_and_sends_the_order_without_waiting(parameters, weighted, traffic):
    rows = X[::5]
    weight = {"sample_weight": WEIGHT[::5]} if weighted else {}
    model = FeedForwardClassifier(**({"batch_size": 12} | parameters))
    reads, sends = traffic(model, rows, y[::5], **weight)
    assert len(reads) == 1
    order, *shares = sends
    assert (order.dtype, order.n_values) == (torch.int64, len(rows))
    assert sum(send.n_values for send in shares) == (2 * len(rows) if weighted else 0)
    assert not any(send.is_waited_for for send in sends)


@pytest.mark.matrix(6)
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("binary", {}),
        ("binary", {"loss": "focal", "label_smoothing": 0.1}),
        ("multilabel", {}),
        *(("one output", {"loss": loss}) for loss in ("squared_error", "huber", "absolute_error")),
        *(("one output", {"loss": loss}) for loss in ("poisson", "gamma")),
        ("one output", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
        ("one output", {"loss": "quantile", "quantile": [0.1, 0.9], "normalization": "layer"}),
        ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
        ("two outputs", {"loss": "quantile", "quantile": [0.1, 0.5, 0.9], "n_members": 3}),
    ],
    ids=case,
)
def test_epoch_of_each_loss_reads_once(target, parameters, traffic):
    data, targets = TARGETS[target]
    kind = FeedForwardRegressor if target.endswith(("output", "outputs")) else FeedForwardClassifier
    if parameters.get("loss") in ("poisson", "gamma"):
        targets = np.abs(targets) + 1
    reads, sends = traffic(kind(batch_size=40, **parameters), data[:100], targets[:100])
    assert (len(reads), len(sends)) == (1, 1)


@pytest.mark.parametrize("parameters", [{}, {"normalization": "batch"}], ids=case)
def test_validation_reads_the_outputs_and_their_loss(parameters, traffic):
    reads, sends = traffic(classifier(early_stopping=True, **parameters), X, y)
    assert len(reads) == 1 + 2
    assert len(sends) == 1 + 1  # The outputs go back to compute their loss.
    assert sends[1].n_values == 15 * 3


@pytest.mark.matrix
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("rows", ["sparse", "streamed"])
def test_chunks_of_rows_are_sent_without_waiting(rows, shuffle, traffic, monkeypatch):
    monkeypatch.setattr("sknn._data._batches.DEVICE_CHUNK_BYTES", 40 * X[0].nbytes)
    monkeypatch.setattr(_rows, "fits", lambda n_bytes, device: False)
    data = scipy.sparse.csr_matrix(X) if rows == "sparse" else X
    reads, sends = traffic(FeedForwardClassifier(batch_size=20, shuffle=shuffle), data, y)
    assert len(reads) == 1
    sent = [send.n_values // X.shape[1] for send in sends if send.dtype == torch.float32]
    assert sent == [40, 40, 40, 30]
    assert not any(send.is_waited_for for send in sends)


def test_stand_in_notices_what_the_host_would_wait_for(traffic):
    def loss(raw, target):
        terms = (raw - target).square().sum(1)
        return terms / terms.max().item()

    reads, _ = traffic(FeedForwardClassifier(loss=loss, batch_size=50), X, y)
    assert len(reads) == 1 + 3
    with Accelerator() as accelerator:
        there = torch.zeros(3, device=META)
        assert there.cpu().tolist() == there.tolist() == [0.0] * 3
        torch.empty(3).copy_(there)
        there.copy_(torch.ones(3))
        torch.ones(3).to(META)
        for depends_on_values in (there.nonzero, lambda: there[there > 0], there.unique):
            with pytest.raises((NotImplementedError, RuntimeError)):
                depends_on_values()
    assert len(accelerator.reads) == 3
    assert [send.is_waited_for for send in accelerator.sends] == [True, True]


# --- asynchronous copies --------------------------------------------------------------------------


class LateCopies:
    """Copies that are made as late as possible: only when a caller waits for their event."""

    def __init__(self):
        self.pending, self.arrived, self.finished = [], [], []

    def new_buffer(self, shape, dtype):
        return torch.full(shape, -1, dtype=dtype)

    def start(self, there, here):
        event = Mock()
        event.synchronize = lambda: self.finish(event)
        self.pending.append((event, there, here))
        return event

    def finish(self, last=None):
        while self.pending and last not in self.finished:
            event, there, here = self.pending.pop(0)  # A stream keeps the order too.
            self.arrived.append(there.copy_(here).clone())
            self.finished.append(event)


@pytest.fixture
def late(monkeypatch):
    copies = LateCopies()
    monkeypatch.setattr(_device_transfers, "copies_of", lambda device: copies)
    return copies


def test_buffer_is_filled_again_only_after_it_was_read(late):
    transfer = Transfer((4,), torch.float32, torch.device("cpu"))
    most_pending = 0
    for value in range(7):
        n_rows = 4 - value % 2
        transfer.next_buffer()[:n_rows].fill_(value)
        transfer.send(n_rows)
        most_pending = max(most_pending, len(late.pending))
    late.finish()
    assert [set(rows.tolist()) for rows in late.arrived] == [{float(v)} for v in range(7)]
    assert [len(rows) for rows in late.arrived] == [4, 3, 4, 3, 4, 3, 4]
    assert most_pending == 2  # One buffer is filled while the other is read.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_rows_arrive_in_order(late, dtype):
    array = np.arange(60, dtype=np.int16).reshape(20, 3)
    rows = _rows.StreamedRows(array, torch.device("cpu"), dtype, np.dtype(np.float32))
    rows.reserve(5)
    order = np.random.RandomState(0).permutation(20)
    for start in range(0, 20, 5):
        rows.gather(order[start : start + 5])
    late.finish()
    assert_array_equal(torch.cat(late.arrived).float().numpy(), array[order])


def test_transfer_to_the_cpu_copies_nothing():
    transfer = Transfer((4,), torch.float32, torch.device("cpu"))
    assert transfer.send(4).data_ptr() == transfer.next_buffer().data_ptr()


# --- memory -----------------------------------------------------------------------------------


def test_rows_are_moved_whole_up_to_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(_devices, "free_memory", lambda device: 2 * X.nbytes)
    assert isinstance(_rows.open_rows(X, META, 20), _rows.DenseRows)
    monkeypatch.setattr(_devices, "free_memory", lambda device: 2 * X.nbytes - 2)
    assert isinstance(_rows.open_rows(X, META, 20), _rows.StreamedRows)
    assert isinstance(_rows.open_targets(X, META), _rows.StreamedRows)


def test_free_memory_of_mps_is_what_is_recommended_and_not_taken(monkeypatch):
    for name, value in (("recommended_max_memory", 100), ("driver_allocated_memory", 30)):
        monkeypatch.setattr(torch.mps, name, lambda value=value: value, raising=False)
    assert _devices.free_memory(torch.device("mps")) == 70
    monkeypatch.delattr(torch.mps, "recommended_max_memory")  # torch 2.4
    assert _devices.free_memory(torch.device("mps")) == np.inf


def test_free_memory_counts_what_torch_keeps_unused(monkeypatch):
    for name, value in (("mem_get_info", (100, 999)), ("memory_reserved", 50)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert _devices.free_memory(torch.device("cuda:1")) == 130


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_memory_is_given_back_to_the_device(kind, monkeypatch):
    calls = []
    monkeypatch.setattr(getattr(torch, kind), "empty_cache", lambda: calls.append(kind))
    with _devices.memory_given_back(torch.device("cpu")):
        pass
    assert not calls
    with _devices.memory_given_back(torch.device(kind)):
        assert not calls
    assert calls == [kind]


@pytest.fixture
def left(monkeypatch):
    """Return a list with the shapes of the tensors on the device at each release of its memory."""
    stand_in(monkeypatch)
    left = []

    def count(device):
        assert device == META
        tensors = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
        left.append([tuple(t.shape) for t in tensors if t.device == META])

    with Accelerator():  # The first use imports modules of torch, in frames that are kept.
        classifier(max_iter=2).fit(X, y)
    monkeypatch.setattr(_devices, "_empty_cache", count)
    gc.collect()
    gc.disable()
    yield left
    gc.enable()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(
            {"early_stopping": True, "normalization": "batch", "n_members": 3, "dropout": 0.1},
            marks=pytest.mark.long,
        ),
        {"solver": "lbfgs", "callbacks": []},
        pytest.param(
            {"solver": torch.optim.Adam, "learning_rate": "cosine"}, marks=pytest.mark.long
        ),
    ],
    ids=case,
)
def test_memory_is_given_back_when_nothing_of_the_fit_is_left(parameters, left):
    with Accelerator():
        classifier(max_iter=2, **parameters).fit(X, y, sample_weight=WEIGHT)
        assert left == [[]]
        kept = torch.empty(7, device=META)
        classifier(max_iter=2, **parameters).fit(X, y)
    assert left[1:] == [[tuple(kept.shape)]]  # The fixture does notice a remaining tensor.


def test_memory_is_given_back_when_fit_fails_but_not_by_partial_fit(left, monkeypatch):
    with Accelerator():
        classifier().partial_fit(X, y, classes=[0, 1, 2])
        assert not left
        monkeypatch.setattr(Trainer, "epoch", Mock(side_effect=RuntimeError("out of memory")))
        with pytest.raises(RuntimeError, match="out of memory"):  # This keeps the exception alive.
            classifier().fit(X, y)
    assert left == [[]]


def test_loaded_model_whose_device_is_present_stays_there(monkeypatch):
    model = classifier(max_iter=1).fit(X, y)
    model.device_ = "cuda:1"
    monkeypatch.setattr(_devices, "is_present", lambda name: name == "cuda:1")
    assert pickle.loads(pickle.dumps(model)).device_ == "cuda:1"


def test_rows_are_sent_synchronously_to_a_device_without_asynchronous_copies():
    transfer = Transfer((4,), torch.float32, META)
    with Accelerator() as accelerator:
        transfer.next_buffer().fill_(1.0)
        there = transfer.send(3)
    assert (there.device, there.shape) == (META, (3,))
    assert [(send.n_values, send.is_waited_for) for send in accelerator.sends] == [(3, True)]
