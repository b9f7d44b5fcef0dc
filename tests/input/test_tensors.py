"""Tensors of torch in place of arrays give the same models and the same errors, without copies.

Rows that stay on a device are tested in three ways: on each accelerator that is present; with
tensors of the CPU that are taken for those of a device; and on the stand-in of `accelerator.py`,
which records the transfers that the host would wait for.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import torch
from accelerator import META, Accelerator, stand_in
from conftest import TARGETS, assert_bit_equal, case
from numpy.testing import assert_array_equal
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._data import _rows
from sknn._input import _data_checks, _tensors
from sknn._platform._devices import is_present, torch_dtype
from sknn._training import _train

X, y = TARGETS["multiclass"]
SINGLE = X.astype(np.float32)
WEIGHT = np.linspace(0.5, 2.0, len(X))
ACCELERATORS = [name for name in ("cuda", "mps") if is_present(name)]

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
]


def classifier(**parameters):
    return FeedForwardClassifier(**({"max_iter": 3, "random_state": 0} | parameters))


def tensor(array):
    return torch.from_numpy(np.array(array))


def strided(array):
    """Return the values of an array as every other row and column of a larger tensor."""
    larger = torch.full((2 * len(array), 2 * array.shape[1]), torch.nan, dtype=torch.float64)
    view = larger[::2, 1::2]
    view.copy_(tensor(array))
    return view


def negative_view(array):
    """Return a tensor whose memory holds the values of an array with the opposite sign."""
    view = torch.complex(torch.zeros(array.shape, dtype=torch.float64), -tensor(array)).conj().imag
    assert view.is_neg()
    return view


# Each entry holds a tensor and the array of its values.
KINDS = {
    "float32": (tensor(SINGLE), SINGLE),
    "float64": (tensor(X), X),
    "float16": (tensor(X.astype(np.float16)), X.astype(np.float16)),
    "bfloat16": (tensor(X).bfloat16(), tensor(X).bfloat16().double().numpy()),
    "int64": (tensor(X).long(), X.astype(np.int64)),
    "uint8": (tensor(X).byte(), X.astype(np.uint8)),
    "bool": (tensor(X > 2), X > 2),
    "columns first": (tensor(X.T).t(), X),
    "strided": (strided(X), X),
    "expanded": (tensor(X[:1]).expand(len(X), -1), np.repeat(X[:1], len(X), axis=0)),
    "negative view": (negative_view(X), X),
    "with gradients": (tensor(X).requires_grad_() * 1.0, X),
    "parameter": (torch.nn.Parameter(tensor(SINGLE)), SINGLE),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


# --- rows on the CPU ------------------------------------------------------------------------------


@pytest.mark.matrix(7)
@each_kind
@pytest.mark.parametrize("parameters", [{}, {"dtype": "float32"}, {"solver": "lbfgs"}], ids=case)
def test_fit_of_a_tensor_gives_the_model_of_the_array(kind, parameters):
    rows, array = KINDS[kind]
    model = classifier(**parameters).fit(rows, y)
    expected = classifier(**parameters).fit(array, y)
    assert_bit_equal(model, expected)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        outputs = getattr(model, method)(rows)
        assert type(outputs) is np.ndarray
        assert_array_equal(outputs, getattr(model, method)(array))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32"])
def test_dtype_auto_computes_in_float32_for_float32_tensors_only(dtype):
    model = classifier().fit(tensor(X).to(getattr(torch, dtype)), y)
    expected = np.float32 if dtype == "float32" else np.float64
    assert model.coefs_[0].dtype == model.predict_proba(X[:2]).dtype == expected


@pytest.mark.skipif(not hasattr(torch, "float8_e4m3fn"), reason="this torch has no float8")
def test_float8_is_taken_for_its_values():
    rows = tensor(SINGLE).to(torch.float8_e4m3fn)
    model = classifier().fit(rows, y)
    assert_bit_equal(model, classifier().fit(rows.double().numpy(), y))
    assert_array_equal(model.predict(rows), model.predict(rows.double().numpy()))


@pytest.fixture
def learned_from(monkeypatch):
    """Return a list that collects the rows of each training."""
    seen = []
    train = _train.train

    def noted(problem, *rest):
        seen.append(problem.X)
        return train(problem, *rest)

    monkeypatch.setattr(_train, "train", noted)
    return seen


@pytest.mark.parametrize("kind", ["float32", "float64", "parameter"])
def test_rows_of_a_tensor_are_learned_from_where_they_are(kind, learned_from):
    rows, _ = KINDS[kind]
    classifier().fit(rows, y)
    assert learned_from[0].__array_interface__["data"][0] == rows.data_ptr()


def test_fit_and_predict_leave_a_tensor_as_it_was():
    rows, _ = KINDS["parameter"]
    before, version = rows.detach().clone(), rows._version
    classifier(input_dropout=0.5).fit(rows, y).predict(rows)
    assert torch.equal(rows, before)
    assert (rows._version, rows.grad) == (version, None)


DENSE = np.where(X > 1, X, 0)
CSR = scipy.sparse.csr_matrix(DENSE)


def twice_in_halves():
    """Return a COO tensor in which each value is the sum of two entries."""
    places = np.stack(CSR.nonzero())
    halves = tensor(np.tile(CSR.data / 2, 2))
    return torch.sparse_coo_tensor(tensor(np.tile(places, 2)), halves, CSR.shape)


def csr_tensor(matrix):
    parts = (tensor(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(*parts, size=matrix.shape)


LAYOUTS = {
    "coo": lambda: tensor(DENSE).to_sparse(),
    "coo not coalesced": twice_in_halves,
    "coo of vectors": lambda: tensor(DENSE).to_sparse(1),
    "csr": lambda: csr_tensor(CSR),
    "csr with gradients": lambda: csr_tensor(CSR).requires_grad_(),
    "csc": lambda: tensor(DENSE).to_sparse(layout=torch.sparse_csc),
    "bsr": lambda: tensor(DENSE).to_sparse(layout=torch.sparse_bsr, blocksize=(3, 2)),
    "bsc": lambda: tensor(DENSE).to_sparse(layout=torch.sparse_bsc, blocksize=(3, 2)),
}


@pytest.mark.matrix(4)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_tensor_of_each_layout_gives_the_model_of_the_matrix(layout):
    rows, matrix = LAYOUTS[layout](), DENSE if layout == "coo of vectors" else CSR
    model = classifier().fit(rows, y)
    assert_bit_equal(model, classifier().fit(matrix, y))
    assert_array_equal(model.predict_proba(rows), model.predict_proba(matrix))


def test_sparse_tensor_of_bfloat16_is_computed_in_float64():
    rows = tensor(DENSE).bfloat16()
    expected = classifier().fit(scipy.sparse.csr_matrix(rows.double().numpy()), y)
    assert_bit_equal(classifier().fit(rows.to_sparse(), y), expected)


def test_values_of_a_csr_tensor_are_shared(learned_from):
    rows = csr_tensor(CSR)
    classifier().fit(rows, y)
    assert learned_from[0].data.__array_interface__["data"][0] == rows.values().data_ptr()


# --- targets and weights --------------------------------------------------------------------------


@pytest.mark.matrix(4)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rows", ["array", "tensor"])
def test_targets_and_weights_that_are_tensors_give_the_model_of_arrays(target, rows):
    data, targets = TARGETS[target]
    is_class = target in ("binary", "multiclass", "multilabel")
    kind = FeedForwardClassifier if is_class else FeedForwardRegressor
    weight = np.linspace(0.5, 2.0, len(data))
    given = tensor(data) if rows == "tensor" else data
    model = kind(max_iter=3, random_state=0)
    model.fit(
        given,
        tensor(targets),
        sample_weight=tensor(weight).requires_grad_(),
        X_val=given[:20],
        y_val=tensor(targets)[:20],
        sample_weight_val=tensor(weight)[:20],
    )
    expected = kind(max_iter=3, random_state=0)
    expected.fit(
        data,
        targets,
        sample_weight=weight,
        X_val=data[:20],
        y_val=targets[:20],
        sample_weight_val=weight[:20],
    )
    assert_bit_equal(model, expected)
    assert model.score(given, tensor(targets)) == expected.score(data, targets)
    scores = (
        model.score(given, tensor(targets), tensor(weight).requires_grad_()),
        expected.score(data, targets, weight),
    )
    assert scores[0] == scores[1]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32, torch.bfloat16])
def test_labels_of_each_dtype_are_the_classes(dtype):
    model = classifier().fit(X, tensor(y).to(dtype))
    assert_array_equal(model.classes_, [0, 1, 2])
    name = str(dtype).removeprefix("torch.")
    assert model.classes_.dtype == ("float32" if name == "bfloat16" else name)
    assert model.score(X, tensor(y).to(dtype)) == model.score(X, y)


def test_sparse_indicator_is_learned_as_scipys():
    data, indicator = TARGETS["multilabel"]
    model = classifier().fit(tensor(data), tensor(indicator).to_sparse())
    assert_bit_equal(model, classifier().fit(data, scipy.sparse.csr_matrix(indicator)))


def test_column_of_labels_warns_as_scikit_learn():
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        model = classifier().fit(tensor(X), tensor(y).reshape(-1, 1))
    assert_bit_equal(model, classifier().fit(X, y))


def test_quantile_regressor_scores_a_tensor():
    data, targets = TARGETS["one output"]
    model = FeedForwardRegressor(loss="quantile", max_iter=3, random_state=0).fit(data, targets)
    score = model.score(tensor(data), tensor(targets).requires_grad_())
    assert score == model.score(data, targets)


def test_partial_fit_of_tensors_goes_on_as_with_arrays():
    model, expected = classifier(), classifier()
    for _ in range(2):
        model.partial_fit(tensor(X), tensor(y), tensor(WEIGHT), classes=torch.arange(3))
        expected.partial_fit(X, y, WEIGHT, classes=np.arange(3))
    assert_bit_equal(model, expected)


# --- errors ---------------------------------------------------------------------------------------

REFUSED = {
    "complex": (lambda: tensor(X).to(torch.complex64), "Complex data not supported: {}"),
    "quantized": (
        lambda: torch.quantize_per_tensor(tensor(SINGLE), 0.1, 0, torch.qint8),
        r"{} is a quantized tensor of torch.qint8.*{}\.dequantize\(\)",
    ),
    "nested": (lambda: torch.nested.nested_tensor([tensor(X[0])] * 150), "{} is a nested tensor"),
    "bits": (lambda: tensor(X).byte().view(torch.bits8), "{} is a tensor of torch.bits8"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:quantize_per_tensor")
@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("kind", REFUSED)
def test_tensor_without_real_numbers_is_refused_by_name(kind):
    make, message = REFUSED[kind]
    model = classifier().fit(X, y)
    with pytest.raises(ValueError, match=message.format("X", "X")):
        model.predict(make())
    with pytest.raises(ValueError, match=message.format("X", "X")):
        model.fit(make(), y)
    with pytest.raises(ValueError, match=message.format("y", "y")):
        model.fit(X, make())
    with pytest.raises(
        ValueError, match="X_val cannot be used.*" + message.format("X_val", "X_val")
    ):
        model.fit(X, y, X_val=make(), y_val=y)


BAD_ROWS = {
    "NaN": lambda rows: torch.where(rows == rows.max(), torch.nan, rows),
    "infinity": lambda rows: torch.where(rows == rows.max(), -torch.inf, rows),
    "NaN after infinity": lambda rows: torch.where(rows == rows[0, 0], torch.inf, rows / rows),
    "one dimension": lambda rows: rows[0],
    "no dimension": lambda rows: rows[0, 0],
    "three dimensions": lambda rows: rows[None],
    "no rows": lambda rows: rows[:0],
    "no columns": lambda rows: rows[:, :0],
    "too large": lambda rows: rows * 1e300,
}


def message_of(function, *arguments):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    return str(error.value)


@pytest.mark.matrix
@pytest.mark.parametrize("where", ["on the CPU", "as on a device"])
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_unusable_rows_get_the_message_of_the_array(bad, where, kept):
    if where == "as on a device":
        kept()
    model = classifier(dtype="float32").fit(X, y)
    rows = BAD_ROWS[bad](tensor(X))
    assert message_of(model.fit, rows, y) == message_of(model.fit, rows.numpy(), y)
    assert message_of(model.predict, rows) == message_of(model.predict, rows.numpy())


def test_other_number_of_features_is_an_error(kept):
    kept()
    model = classifier().fit(X, y)
    with pytest.raises(
        ValueError, match="X has 3 features, but FeedForwardClassifier is expecting 4"
    ):
        model.predict(tensor(X)[:, :3])


def test_other_number_of_targets_is_an_error(kept):
    kept()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(tensor(X), y[:-1])


# --- rows on a device -----------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch):
    """Return a function that makes the package take tensors of the CPU for those of a device."""

    def array_or_device_tensor(value, name, device, dtypes=None):
        return _tensors._checked_and_detached(value, name) if _tensors.is_tensor(value) else value

    def placed(rows, device, dtype):
        return rows.to(torch_dtype(dtype)).contiguous() if _tensors.is_tensor(rows) else rows

    def keep():
        monkeypatch.setattr(_data_checks, "array_or_device_tensor", array_or_device_tensor)
        monkeypatch.setattr(_train, "placed", placed)

    return keep


@pytest.mark.matrix(9)
@each_kind
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"dtype": "float32", "shuffle": False},
        {"dtype": "bfloat16"},
        {"solver": "lbfgs"},
        {"early_stopping": True},
        {"early_stopping": True, "scoring": "f1_macro"},
        {"normalization": "batch"},
        {"n_members": 3, "early_stopping": True},
    ],
    ids=case,
)
@pytest.mark.filterwarnings("ignore:dtype='bfloat16' is slower")
def test_rows_that_stay_tensors_give_the_model_of_the_array(kind, parameters, kept):
    rows, array = KINDS[kind]
    expected = classifier(**parameters).fit(array, y)
    probabilities = expected.predict_proba(array)
    kept()
    model = classifier(**parameters).fit(rows, y)
    assert_bit_equal(model, expected)
    assert_array_equal(model.predict_proba(rows), probabilities)
    if kind == "bfloat16":
        array = array.astype(model.coefs_[0].dtype)  # Chunks then have as many rows.
    large = rows.repeat(40, 1), np.tile(array, (40, 1))  # These are several chunks.
    assert_array_equal(*(model.predict_proba(data) for data in large))


def test_sum_that_overflows_is_no_error_where_the_values_are_finite(kept):
    rows = np.where(X == X.max(), 1.5e308, X) * np.where(np.arange(len(X)) % 2, 1, 0.9)[:, None]
    rows[:2] = 1.5e308
    model = classifier().fit(X, y)
    expected = model.predict(rows)
    kept()
    assert not tensor(rows).sum().isfinite()
    assert_array_equal(model.predict(tensor(rows)), expected)


def test_fit_on_a_device_does_not_send_rows_that_are_there(monkeypatch):
    stand_in(monkeypatch)
    rows = tensor(SINGLE).to(META)
    for data in (rows, rows.double(), rows.t().contiguous().t()):
        with Accelerator() as accelerator:
            model = classifier(device="auto", dtype="float32").fit(data, y)
        assert model.device_ == "meta"
        assert X.size not in [send.n_values for send in accelerator.sends]
        # Losses and weights are read for an array too. The additional reads are the sum of the rows
        # and some of them, for the sizes of the columns.
        with Accelerator() as usual:
            classifier(device="auto", dtype="float32").fit(SINGLE, y)
        assert len(accelerator.reads) == len(usual.reads) + 2


def test_validation_rows_on_a_device_are_used_there(monkeypatch):
    stand_in(monkeypatch)
    rows = tensor(SINGLE).to(META)
    for options, parameters in (
        ({"X_val": rows[:50], "y_val": y[:50]}, {}),
        ({}, {"early_stopping": True}),
        ({}, {"early_stopping": True, "scoring": lambda estimator, X, y: float(X.is_meta)}),
    ):
        with Accelerator() as accelerator:
            model = classifier(device="auto", **parameters).fit(rows, y, **options)
        sent = {
            send.n_values // X.shape[1]
            for send in accelerator.sends
            if send.dtype.is_floating_point
        }
        assert not sent & {len(X), 50, 15}
        if "scoring" in parameters:
            assert set(model.validation_scores_) == {1.0}


def test_checkpoints_read_the_rows_once_to_name_the_file(monkeypatch, tmp_path):
    stand_in(monkeypatch)
    n_reads = []
    for rows in (SINGLE, tensor(SINGLE).to(META)):
        with Accelerator() as accelerator:
            classifier(device="auto", checkpoint_dir=tmp_path).fit(rows, y)
        n_reads.append(len(accelerator.reads))
    # These read the sum of the rows, the rows, and some of them for the sizes of the columns.
    assert n_reads[1] == n_reads[0] + 3


def test_callbacks_that_see_batches_see_tensors_of_the_device(monkeypatch):
    class Look(Callback):
        def on_batch_begin(self, net, batch, training, **kwargs):
            assert batch[0].device == META
            seen.append(len(batch[0]))

    seen = []
    stand_in(monkeypatch)
    with Accelerator():
        classifier(device="auto", max_iter=1, batch_size=100, callbacks=[Look()]).fit(
            tensor(X).to(META), y
        )
    assert seen == [100, 50]


def test_prediction_on_a_device_reads_a_sum_and_the_outputs(monkeypatch):
    model = classifier(hidden_layer_sizes=(10,)).fit(SINGLE, y)
    model.device_ = "meta"
    monkeypatch.setattr("sknn._platform._devices.is_present", lambda name: True)
    rows = tensor(SINGLE).to(META)
    with Accelerator() as accelerator:
        outputs = model.predict_proba(rows)
    assert type(outputs) is np.ndarray
    assert len(accelerator.reads) == 2
    assert X.size not in [send.n_values for send in accelerator.sends]


def test_rows_of_another_device_are_moved_once():
    model = classifier().fit(SINGLE, y)
    for call in (model.predict, lambda rows: classifier().fit(rows, y)):
        with Accelerator() as accelerator:
            call(tensor(SINGLE).to(META))
        assert len(accelerator.reads) == 1


def test_auto_that_takes_the_cpu_moves_rows_once():
    with Accelerator() as accelerator:
        model = classifier(device="auto", early_stopping=True).fit(tensor(X).to(META), y)
    assert model.device_ == "cpu"
    assert len(accelerator.reads) == 2  # These read the sum of the rows, and the rows.


def test_rows_of_another_device_that_do_not_fit_stay_on_the_host(monkeypatch):
    assert _rows.placed(tensor(X), META, np.dtype(np.float32)).device == META
    monkeypatch.setattr(_rows, "fits", lambda n_bytes, device: False)
    assert isinstance(_rows.placed(tensor(X), META, np.dtype(np.float32)), np.ndarray)
    there = tensor(X).to(META)
    assert _rows.placed(there, META, np.dtype(np.float64)).data_ptr() == there.data_ptr()


class OnMps(torch.Tensor):
    """A tensor of the CPU that says it is on an Apple GPU."""

    @property
    def device(self):
        return torch.device("mps")


def test_rows_on_mps_go_to_the_host_where_float64_is_computed_in():
    rows = tensor(X).half().as_subclass(OnMps)
    both = [np.float64, np.float32]
    assert isinstance(_tensors.array_or_device_tensor(rows, "X", "auto", both), np.ndarray)
    assert _tensors.is_tensor(_tensors.array_or_device_tensor(rows, "X", "auto", [np.float32]))
    single = tensor(SINGLE).as_subclass(OnMps)
    assert _tensors.is_tensor(_tensors.array_or_device_tensor(single, "X", "auto", both))


@pytest.mark.parametrize("device", ACCELERATORS)
@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "with gradients"])
def test_rows_on_an_accelerator_give_the_model_of_the_array(device, kind):
    rows, array = KINDS[kind]
    parameters = {"device": device, "dtype": "float32", "max_iter": 20}
    model = classifier(**parameters).fit(rows.to(device), tensor(y).to(device))
    expected = classifier(**parameters).fit(array, y)
    for there in (rows.to(device), rows):
        near = model.predict_proba(there), expected.predict_proba(array)
        np.testing.assert_allclose(*near, rtol=0, atol=1e-4)


# --- with scikit-learn's tools --------------------------------------------------------------------


def test_search_pipeline_and_cross_validation_take_tensors():
    expected = cross_val_score(classifier(), SINGLE, y, cv=3)
    assert_array_equal(cross_val_score(classifier(), tensor(SINGLE), tensor(y), cv=3), expected)
    searches = [
        GridSearchCV(classifier(), {"alpha": [1e-4, 1.0]}, cv=3).fit(*data)
        for data in ((tensor(SINGLE), tensor(y)), (SINGLE, y))
    ]
    assert_bit_equal(*(search.best_estimator_ for search in searches))
    pipelines = [
        make_pipeline(StandardScaler(), classifier()).fit(*data)
        for data in ((tensor(X), tensor(y)), (X, y))
    ]
    assert_bit_equal(*(pipeline[-1] for pipeline in pipelines))
    assert_array_equal(pipelines[0].predict(tensor(X)), pipelines[1].predict(X))


@pytest.mark.long
@pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"), reason="needs SciPy 1.14"
)
def test_array_api_dispatch_changes_nothing():
    program = """
import numpy as np, sklearn, torch, warnings
from sknn import FeedForwardClassifier
warnings.simplefilter("ignore")
X = np.random.RandomState(0).rand(60, 3).astype(np.float32)
y = np.arange(60) % 3
expected = FeedForwardClassifier(max_iter=2, random_state=0).fit(X, y)
with sklearn.config_context(array_api_dispatch=True):
    rows, labels, weight = torch.from_numpy(X), torch.from_numpy(y), torch.ones(60)
    model = FeedForwardClassifier(max_iter=2, random_state=0).fit(rows, labels, weight)
    outputs = model.predict_proba(rows)
    assert model.score(rows, labels, weight) == model.score(X, y)
assert type(outputs) is np.ndarray
assert (outputs == expected.predict_proba(X)).all()
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_asking_for_a_tensor_does_not_import_torch(monkeypatch):
    assert _tensors.is_tensor(tensor(X))
    monkeypatch.delitem(sys.modules, "torch")
    assert not _tensors.is_tensor(X)
    assert "torch" not in sys.modules
