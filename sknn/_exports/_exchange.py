"""Fitted networks from here to scikit-learn's MLPs, and back.

Both sides hold the same: weights as (n_in, n_out) arrays, curves as lists, and what a solver
remembers as one array for each of them. So nothing is computed on the way, except where batch
normalization becomes part of the weights.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from sknn._exports._folding import folded
from sknn._input import _parameter_checks, _targets
from sknn._platform._alignment import aligned

if TYPE_CHECKING:
    from sknn._base import BaseFeedForward
    from sknn._training._problem import Network

MLP = MLPClassifier | MLPRegressor

_COMMON = (
    *("n_features_in_", "feature_names_in_", "classes_", "loss_", "n_iter_", "t_", "n_layers_"),
    *("n_outputs_", "out_activation_"),
)
_OF_STOCHASTIC_SOLVERS = (
    *("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"),
    "_no_improvement_count",
)
_SOLVERS = {"adam": AdamOptimizer, "sgd": SGDOptimizer}
_METHODS = ("fit", "partial_fit", "score")


def to_sklearn(estimator: BaseFeedForward) -> MLP:
    """The work of `Exports.to_sklearn`, for what `_as_it_is` gives."""
    network = estimator._checked_network()
    _refuse_what_sklearn_lacks(estimator, network)
    kind = MLPRegressor if estimator._numeric_targets else MLPClassifier
    mlp = kind(**_sklearn_parameters(estimator, kind, network))
    _copy_attributes(estimator, mlp)
    dtype = estimator._model_dtype()
    coefs, intercepts = folded(
        estimator.coefs_, estimator.intercepts_, estimator.module_state_, dtype
    )
    mlp.coefs_, mlp.intercepts_ = coefs, intercepts
    # What early stopping of a warm start goes back to, if it finds nothing better.
    mlp._best_coefs = [coef.copy() for coef in coefs]
    mlp._best_intercepts = [intercept.copy() for intercept in intercepts]
    state = getattr(estimator, "_solver_state", None) or {}
    is_carried_on = state.get("name") == estimator.solver and network.normalization is None
    if estimator.solver in _SOLVERS and is_carried_on:
        mlp._optimizer = _sklearn_optimizer(mlp, state)
    _copy_requests(estimator, mlp)
    return mlp


def from_sklearn(mlp: MLP) -> BaseFeedForward:
    """Make an estimator of this package from scikit-learn's, fitted or not.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
        Of exactly these classes: a subclass may predict in another way. It is left as it is.

    Returns
    -------
    FeedForwardClassifier or FeedForwardRegressor
        With the same parameters and, if it is fitted, the same predictions, fitted attributes and
        state of the solver, so that `partial_fit` goes on as it would there. What scikit-learn
        does not record is NaN in `learning_rate_curve_`, `validation_loss_curve_` and the durations
        of `net_.history`.

    Raises
    ------
    TypeError
        If it is something else.

    See Also
    --------
    FeedForwardClassifier.to_sklearn : The other way.
    FeedForwardRegressor.to_sklearn : The other way.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import sknn
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = sknn.from_sklearn(MLPClassifier(max_iter=1000, random_state=0).fit(X, y))
    >>> type(clf).__name__
    'FeedForwardClassifier'
    >>> bool(clf.score(X, y) > 0.9)
    True

    .. versionadded:: 0.1
    """
    from sknn._classifier import FeedForwardClassifier
    from sknn._regressor import FeedForwardRegressor

    kinds = {MLPClassifier: FeedForwardClassifier, MLPRegressor: FeedForwardRegressor}
    if isinstance(mlp, tuple(kinds.values())):
        raise TypeError(
            "from_sklearn takes an MLPClassifier or an MLPRegressor of scikit-learn, got"
            f" {type(mlp).__name__}, which is of this package already. Use it as it is."
        )
    if type(mlp) not in kinds:
        raise TypeError(_advice(mlp))
    estimator = kinds[type(mlp)](**copy.deepcopy(mlp.get_params(deep=False)))
    if hasattr(mlp, "coefs_"):
        _take_over(mlp, estimator)
    _copy_requests(mlp, estimator)
    return estimator


def _advice(given: Any) -> str:
    name = type(given).__name__ if not isinstance(given, type) else f"the class {given.__name__}"
    text = f"from_sklearn takes an MLPClassifier or an MLPRegressor of scikit-learn, got {name}."
    if isinstance(given, type):
        return f"{text} Give an instance."
    if isinstance(given, MLPClassifier | MLPRegressor):
        return (
            f"{text} A subclass may predict in a way of its own: if it does not, copy its"
            " attributes, vars(mlp), to an instance of scikit-learn's class."
        )
    if hasattr(given, "steps"):
        return f"{text} Give the step that is one, as in from_sklearn(pipeline[-1])."
    if hasattr(given, "best_estimator_"):
        return (
            f"{text} Give the estimator that was found, as in from_sklearn(search.best_estimator_)."
        )
    return f"{text} Give the network itself, if this holds one."


def _refuse_what_sklearn_lacks(estimator: BaseFeedForward, network: Network) -> None:
    """Raise one error for all that an MLP of scikit-learn cannot do in prediction."""
    lacking = []
    own = [a for a in network.activations if not isinstance(a, str)]
    named = [a for a in network.activations if isinstance(a, str)]
    others = [a for a in named if a not in _parameter_checks.SKLEARN_ACTIVATIONS]
    known = ", ".join(map(repr, _parameter_checks.SKLEARN_ACTIVATIONS))
    if own:
        names = ", ".join(dict.fromkeys(getattr(a, "__qualname__", repr(a)) for a in own))
        lacking.append(f"modules of your own as activation ({names})")
    if others:
        names = ", ".join(dict.fromkeys(map(repr, others)))
        lacking.append(f"the activation {names} (it has {known})")
    if not own and not others and len(set(named)) > 1:
        names = ", ".join(map(repr, network.activations))
        lacking.append(f"a different activation in each layer ({names}): it has one for all")
    if network.normalization == "layer" and network.activations:
        lacking.append(
            "normalization='layer' (only 'batch', whose statistics are fixed, can become part of"
            " the weights)"
        )
    if estimator._numeric_targets and estimator._predicts_levels():
        lacking.append(f"quantile={estimator.quantile!r}, a column of predictions for each level")
    if lacking:
        # Code of the user's is in no ONNX graph, and in no file that `save` writes.
        ways = "or pickle" if own else "skl2onnx (ONNX), save or pickle"
        raise ValueError(
            f"scikit-learn's MLP cannot express this {type(estimator).__name__}:"
            f" {'; '.join(lacking)}. Fit without these, or take it elsewhere by module_ (torch)"
            f"{' ' if own else ', '}{ways}, which can."
        )


def _sklearn_parameters(estimator: BaseFeedForward, kind: type, network: Network) -> dict[str, Any]:
    """The parameters that both have, with values that scikit-learn takes.

    In the place of others stands what leaves predictions as they are.
    """
    names = kind().get_params(deep=False)
    parameters = {name: copy.deepcopy(getattr(estimator, name)) for name in names}
    activations = network.activations
    own = estimator.activation if isinstance(estimator.activation, str) else "identity"
    parameters["activation"] = activations[0] if activations else own
    if parameters["activation"] not in _parameter_checks.SKLEARN_ACTIVATIONS:
        parameters["activation"] = "identity"  # of no layer
    if parameters["solver"] not in ("lbfgs", "sgd", "adam"):
        parameters["solver"] = "adam"
    if parameters["learning_rate"] not in ("constant", "invscaling", "adaptive"):
        parameters["learning_rate"] = "constant"
    if parameters["verbose"] == "progress":
        parameters["verbose"] = True
    if kind is MLPClassifier:
        return parameters
    exponential = estimator.out_activation_ == "exp"
    parameters["loss"] = "poisson" if exponential else "squared_error"
    return parameters


def _copy_attributes(source: Any, target: Any) -> None:
    """What both have under the same name."""
    names = _COMMON
    if hasattr(source, "loss_curve_"):
        names += _OF_STOCHASTIC_SOLVERS
    for name in names:
        if hasattr(source, name):
            setattr(target, name, _copied(getattr(source, name)))
    if hasattr(source, "_label_binarizer"):
        learned = _targets.plain_binarizer(source._label_binarizer)
        learned = {name: _copied(value) for name, value in learned.items()}
        target._label_binarizer = _targets.binarizer_of(**learned)


def _copied(value: Any) -> Any:
    """A copy; of a memory map, as joblib's `mmap_mode` makes them, an array in memory."""
    return np.array(value) if isinstance(value, np.ndarray) else copy.deepcopy(value)


def _sklearn_optimizer(mlp: MLP, state: dict[str, Any]) -> AdamOptimizer | SGDOptimizer:
    """What a solver of ours remembers, as scikit-learn's."""
    numbers = state["numbers"]
    parameters = mlp.coefs_ + mlp.intercepts_
    slots = [
        [np.array(array, order="C") for array in (*coefs, *intercepts)]
        for coefs, intercepts, _ in state["slots"]
    ]
    if state["name"] == "sgd":
        schedule = numbers["learning_rate"]
        is_known = schedule in ("constant", "invscaling", "adaptive")
        optimizer = SGDOptimizer(
            parameters,
            numbers["learning_rate_init"],
            schedule if is_known else "constant",
            numbers["momentum"],
            bool(numbers["nesterovs_momentum"]),
            numbers["power_t"],
        )
        if is_known:
            optimizer.learning_rate = float(numbers["lr"])
        (optimizer.velocities,) = slots
        return optimizer
    beta_1, beta_2, t = numbers["beta_1"], numbers["beta_2"], numbers["n_updates"]
    rate = numbers["learning_rate_init"]
    optimizer = AdamOptimizer(parameters, rate, beta_1, beta_2, numbers["epsilon"])
    optimizer.ms, optimizer.vs = slots
    optimizer.t = t
    if t:
        optimizer.learning_rate = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return optimizer


def _solver_state(mlp: MLP) -> dict[str, Any]:
    """What a solver of scikit-learn's remembers, as ours; empty for none."""
    optimizer = getattr(mlp, "_optimizer", None)
    if optimizer is None:
        return {}
    if isinstance(optimizer, SGDOptimizer):
        name, slots = "sgd", [optimizer.velocities]
        numbers = {
            "lr": float(optimizer.learning_rate),
            "learning_rate_init": optimizer.learning_rate_init,
            "momentum": optimizer.momentum,
            "nesterovs_momentum": bool(optimizer.nesterov),
            "learning_rate": optimizer.lr_schedule,
            "power_t": optimizer.power_t,
            "n_updates": 0,
        }
    else:
        name, slots = "adam", [optimizer.ms, optimizer.vs]
        numbers = {
            "lr": optimizer.learning_rate_init,
            "learning_rate_init": optimizer.learning_rate_init,
            "beta_1": optimizer.beta_1,
            "beta_2": optimizer.beta_2,
            "epsilon": optimizer.epsilon,
            "n_updates": optimizer.t,
        }
    n = len(mlp.coefs_)
    arrays = [[np.array(array) for array in slot] for slot in slots]
    slots = [(slot[:n], slot[n:], []) for slot in arrays]
    return {"name": name, "numbers": numbers, "slots": slots, "n_calls": 0, "scheduler": None}


def _take_over(mlp: MLP, estimator: BaseFeedForward) -> None:
    """The fitted attributes of scikit-learn's estimator, and those that only ours has."""
    _copy_attributes(mlp, estimator)
    estimator.loss_ = float(mlp.loss_)
    estimator.coefs_ = [aligned(np.array(coef, order="F")) for coef in mlp.coefs_]
    estimator.intercepts_ = [np.array(intercept) for intercept in mlp.intercepts_]
    estimator.module_state_, estimator.callbacks_, estimator.device_ = {}, [], "cpu"
    estimator._history = []
    if estimator._numeric_targets:
        estimator._n_targets = mlp.n_outputs_
    if not hasattr(mlp, "loss_curve_"):
        return
    n_epochs, scores = len(mlp.loss_curve_), mlp.validation_scores_
    for name in ("best_loss_", "best_validation_score_"):
        value = getattr(mlp, name)
        setattr(estimator, name, None if value is None else float(value))
    estimator.loss_curve_ = [float(loss) for loss in mlp.loss_curve_]
    if scores is not None:
        estimator.validation_scores_ = [float(score) for score in scores]
    optimizer = getattr(mlp, "_optimizer", None)
    is_constant = getattr(optimizer, "lr_schedule", "constant") == "constant"
    rate = mlp.learning_rate_init if is_constant else np.nan
    estimator.learning_rate_curve_ = [float(rate)] * n_epochs
    estimator.validation_loss_curve_ = None if scores is None else [np.nan] * len(scores)
    estimator._watched = "" if scores is None else estimator._watched_scores()
    estimator._solver_state = _solver_state(mlp)
    estimator._history = _history(estimator.loss_curve_, estimator.validation_scores_)


def _history(losses: list[float], scores: list[float] | None) -> list[dict[str, Any]]:
    """Records of the epochs, as far as they are known."""
    records, best = [], np.inf
    for i, loss in enumerate(losses):
        record = {
            "epoch": i + 1,
            "train_loss": loss,
            "train_loss_best": loss < best,
            "dur": np.nan,
        }
        if scores is not None and i < len(scores):
            record["valid_score"] = scores[i]
        records.append(record)
        best = min(best, loss)
    return records


def _copy_requests(source: Any, target: Any) -> None:
    """What `set_fit_request` and the like have set, for arguments that both have."""
    if not hasattr(source, "_metadata_request"):
        return
    requests = target._get_metadata_request()
    for method in _METHODS:
        given = getattr(source._metadata_request, method, None)
        own = getattr(requests, method, None)
        for argument, alias in {} if given is None else given.requests.items():
            if own is not None and argument in own.requests:
                own.add_request(param=argument, alias=alias)
    target._metadata_request = requests
