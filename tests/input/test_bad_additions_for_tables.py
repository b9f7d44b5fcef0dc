"""Bad values of the parameters for tables raise a clear error before any training."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from bad_additions import SMALL, fail, fail_unfitted_and_fitted, fitted_network, network
from conftest import TARGETS, case
from sklearn.utils._param_validation import InvalidParameterError

from sknn import PeriodicEmbedding

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = ("multiclass", "one output")


def squared(raw, y):
    return (raw - y).square().sum(1)


# --- an embedding -----------------------------------------------------------------------------


@pytest.mark.matrix(8)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n_frequencies", value) for value in (0, -1, 2.5, "many", None)),
        *(("size", value) for value in (1, 0, -1, 2.5, "large", None)),
        *(("scale", value) for value in (0, 0.0, -1.0, "wide", None)),
    ],
)
def test_parameter_of_an_embedding_out_of_its_range_raises(name, value):
    embedding = PeriodicEmbedding(**{name: value})
    for target in BOTH:
        message = fail_unfitted_and_fitted(
            target,
            {"numeric_embedding": embedding},
            match=f"'{name}' parameter of PeriodicEmbedding",
            error=InvalidParameterError,
        )
        assert repr(value) in message


@pytest.mark.parametrize("convert", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
@pytest.mark.parametrize("embedding", ["periodic", PeriodicEmbedding(size=3)])
def test_sparse_rows_with_an_embedding_raise(embedding, convert):
    for target in BOTH:
        X, y = TARGETS[target]
        message = fail_unfitted_and_fitted(
            target,
            {"numeric_embedding": embedding},
            *(convert(X), y),
            match="a sparse matrix.*'numeric_embedding' parameter is",
        )
        assert "toarray()" in message and "numeric_embedding=None" in message


@pytest.mark.parametrize("call", ["predict", "score", "partial_fit"])
def test_sparse_rows_for_a_network_with_an_embedding_raise(call):
    X, y = TARGETS["multiclass"]
    model = network("multiclass", numeric_embedding="periodic").fit(X, y)
    arguments = () if call == "predict" else (y,)
    fail(model, scipy.sparse.csr_matrix(X), *arguments, call=call, match="(?i)sparse")


def test_sparse_validation_rows_with_an_embedding_raise():
    X, y = TARGETS["multiclass"]
    model = network("multiclass", numeric_embedding="periodic")
    fail(
        model, X, y, X_val=scipy.sparse.csr_matrix(X), y_val=y, match="X_val.*sparse|sparse.*X_val"
    )


def test_input_dropout_of_members_that_share_an_embedding_raises():
    parameters = {"numeric_embedding": "periodic", "input_dropout": 0.1, "n_members": 2}
    for target in BOTH:
        message = fail_unfitted_and_fitted(target, parameters, match="'input_dropout' parameter")
        for way in ("input_dropout=0", "n_members=1", "numeric_embedding=None"):
            assert way in message
        for name, value in (("input_dropout", 0), ("n_members", 1), ("numeric_embedding", None)):
            network(target, **parameters | {name: value}).fit(*TARGETS[target])


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("changed", [{"size": 3}, {"n_frequencies": 4}])
def test_embedding_of_another_size_than_the_fitted_one_raises(changed, call):
    X, y = TARGETS["multiclass"]
    model = network("multiclass", numeric_embedding=PeriodicEmbedding(), warm_start=True)
    model.fit(X, y).set_params(**{f"numeric_embedding__{k}": v for k, v in changed.items()})
    message = fail(model, X, y, call=call, match="numeric_embedding")
    assert "warm_start=False" in message
    fail(model, X, call="predict", match="numeric_embedding")
    model.set_params(warm_start=False).fit(X, y).predict(X)


@pytest.mark.parametrize("added", ["numeric_embedding", "input_scaling"])
def test_part_that_was_added_or_taken_away_after_the_fit_raises(added):
    X, y = TARGETS["multiclass"]
    value = {"numeric_embedding": "periodic", "input_scaling": True}[added]
    default = {"numeric_embedding": None, "input_scaling": False}[added]
    model = network("multiclass", warm_start=True, **{added: value}).fit(X, y)
    model.set_params(**{added: default})
    fail(model, X, call="predict", match=added)
    fail(model, X, y, match=added)


# --- scaled targets, rules by rows, waves -----------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "gamma", squared], ids=case)
def test_targets_of_a_loss_that_depends_on_their_unit_are_not_scaled(loss):
    message = fail_unfitted_and_fitted(
        "one output",
        {"target_scaling": "standard", "loss": loss},
        match="standardized by target_scaling, but the 'loss' parameter is",
    )
    assert repr(loss) in message and "target_scaling=None" in message


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("now", [None, "standard"])
def test_network_of_scaled_targets_does_not_go_on_with_such_a_loss(now, call):
    X, y = TARGETS["counts"]
    model = network("one output", target_scaling="standard", warm_start=True).fit(X, y)
    model.set_params(loss="poisson", target_scaling=now)
    fail(model, X, y, call=call, match="targets are standardized.*'loss' parameter is 'poisson'")


@pytest.mark.parametrize(
    "learning_rate", ["constant", "cosine", "one_cycle", torch.optim.lr_scheduler.ConstantLR]
)
def test_waves_of_a_schedule_without_waves_raise(learning_rate):
    for target in BOTH:
        message = fail_unfitted_and_fitted(
            target,
            {"early_stopping": "waves", "learning_rate": learning_rate},
            match="'early_stopping' parameter is 'waves'.*'learning_rate' parameter",
        )
        assert "learning_rate='coslog'" in message


def test_partial_fit_with_waves_raises():
    X, y = TARGETS["one output"]
    model = network("one output", early_stopping="waves", learning_rate="coslog")
    fail(model, X, y, call="partial_fit", match="partial_fit does not support.*'waves'")


def test_nothing_is_wrong_with_good_values():
    for target in BOTH:
        X, y = TARGETS[target]
        options = {"target_scaling": "standard"} if target == "one output" else {}
        network(
            target,
            numeric_embedding=PeriodicEmbedding(2, 3, 0.5),
            input_scaling=np.True_,
            initialization="data",
            learning_rate="coslog",
            early_stopping="waves",
            batch_size="by_rows",
            **options,
        ).set_params(max_iter="by_rows").fit(X[:40], y[:40])
    assert set(fitted_network("multiclass", (6,)).get_params()) >= set(SMALL)


@pytest.mark.parametrize(("target", "score"), [("multiclass", "accuracy"), ("one output", "r2")])
def test_score_to_watch_beside_waves_raises(target, score):
    waves = {"early_stopping": "waves", "learning_rate": "coslog"}
    message = fail_unfitted_and_fitted(
        target, {**waves, "scoring": score}, match="early_stopping='waves' only compares"
    )
    assert repr(score) in message and "early_stopping=True" in message
