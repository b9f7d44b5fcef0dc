"""What is known of the user's scorer, and a scorer of scikit-learn that knows the classes.

The objects of `sklearn.metrics.make_scorer` tell their metric, its arguments and the method that
they call in private attributes, which all versions that are supported have.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer_names

from sknn._platform._user_code import parameters_of
from sknn._training._problem import Scorer


def with_classes(scorer: Scorer, estimator: Any, is_multilabel: bool) -> Scorer:
    """Return a scorer whose metric is told the classes of a classifier, if it is of scikit-learn.

    scikit-learn takes the classes from the labels of the rows that are scored, which may lack some,
    and takes 1 for the positive label. A metric of probabilities is given `labels`, and one of two
    classes `pos_label`, where the user has not set them: the positive class is the second. What
    scikit-learn can compute keeps its value.
    """
    if not (hasattr(estimator, "classes_") and response_methods(scorer)):
        return scorer
    classes, method = estimator.classes_, used_method(scorer, estimator)
    function, given = metric_of(scorer)
    parameters = parameters_of(function)
    has_metric_of_sklearn = is_of_sklearn(scorer)
    scorer, added = copy.copy(scorer), {}
    if has_metric_of_sklearn and method != "predict":
        if is_multilabel or len(classes) > 2:
            scorer._score = partial(_score_of_all_columns, scorer._score)
        if not is_multilabel and "labels" in parameters:
            added["labels"] = classes
    if "pos_label" in parameters and not is_multilabel:
        added |= _positive_label(scorer, classes, method)
    scorer._kwargs = added | given
    return scorer


def takes_classes(scorer: Scorer, estimator: Any, method: str) -> bool:
    """Return whether a metric of scikit-learn is defined for rows that have all classes.

    If it is, a failure has to do with the rows; if not, with the kind of the metric.
    """
    if not hasattr(estimator, "classes_") or estimator._label_binarizer.y_type_.endswith(
        "indicator"
    ):
        return True
    classes, (metric, given) = estimator.classes_, metric_of(scorer)
    labels, n = np.tile(classes, 2), len(classes)
    predicted = labels
    if method != "predict":
        predicted = np.tile(np.eye(n) * 0.5 + 0.5 / n, (2, 1))
        predicted = predicted[:, 1] if n == 2 else predicted
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric(labels, predicted, **given)
    except Exception:
        return False
    return True


def _positive_label(scorer: Scorer, classes: np.ndarray, method: str | None) -> dict[str, Any]:
    """Return the `pos_label` of a metric whose default is not one of the classes, as an option."""
    function, given = metric_of(scorer)
    parameters = parameters_of(function)
    default = parameters["pos_label"].default
    # A function of the user whose default is None finds the class by itself.
    if default in classes.tolist() or (default is None and not is_of_sklearn(scorer)):
        return {}
    average = given.get("average", getattr(parameters.get("average"), "default", "binary"))
    if method == "predict" and average != "binary":
        return {"pos_label": None}  # It is not used, but scikit-learn would refuse its default.
    return {"pos_label": classes[1]} if len(classes) == 2 else {}


def _score_of_all_columns(score: Callable, caller: Any, *arguments: Any, **options: Any) -> Any:
    """Score the responses as the estimator gives them.

    scikit-learn would take the columns of two labels for those of two classes, and older versions
    refuse the default `pos_label` also for more classes, where it is not used.
    """

    def response(estimator: Any, method: str, X: Any, pos_label: Any) -> np.ndarray:
        return getattr(estimator, method)(X)

    return score(response, *arguments, **options)


def metric_of(scorer: Scorer) -> tuple[Callable, dict[str, Any]]:
    """Return the metric of a `make_scorer` object, and the arguments that the user has set."""
    function, given = scorer._score_func, dict(scorer._kwargs)
    while isinstance(function, partial):
        given = function.keywords | given
        function = function.func
    return function, given


def is_of_sklearn(scorer: Scorer) -> bool:
    """Return whether the metric of a scorer is a function of scikit-learn."""
    if not response_methods(scorer):
        return False
    module = getattr(metric_of(scorer)[0], "__module__", None)
    return str(module).partition(".")[0] == "sklearn"


def response_methods(scorer: Scorer) -> list[str]:
    """Return the methods that a `make_scorer` object can score, and none for other callables."""
    methods = getattr(scorer, "_response_method", ())
    return [methods] if isinstance(methods, str) else list(methods)


def used_method(scorer: Scorer, estimator: Any) -> str | None:
    """Return the method whose results a `make_scorer` object scores."""
    return next((m for m in response_methods(scorer) if hasattr(estimator, m)), None)


def averaged_over_classes(name: str) -> str | None:
    """Return the name of the scorer that is the mean over classes of a scorer for two, if any."""
    return next((n for n in (f"{name}_macro", f"{name}_ovr") if n in get_scorer_names()), None)


def takes_weights(scorer: Scorer) -> bool:
    """Return whether a scorer, or the metric of a scikit-learn scorer, accepts `sample_weight`."""
    parameters = parameters_of(getattr(scorer, "_score_func", scorer)).values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)
