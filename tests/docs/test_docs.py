"""The documented parameters, defaults, attributes and public names are those of the code."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import runpy
from pathlib import Path

import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor

ROOT = Path(__file__).resolve().parents[2]
public_objects = runpy.run_path(str(ROOT / "docs" / "_ext" / "public_api.py"))["public_objects"]

BOTH = [(FeedForwardClassifier, MLPClassifier), (FeedForwardRegressor, MLPRegressor)]


def documented(estimator, section):
    """Return the names in one section of a numpydoc docstring."""
    pattern = rf"{section}\n-+\n(.*?)(?:\n\n\S|\Z)"
    body = re.search(pattern, inspect.cleandoc(estimator.__doc__), re.DOTALL).group(1)
    return re.findall(r"^(\w+) : ", body, re.MULTILINE)


@pytest.mark.parametrize("estimator", [ours for ours, _ in BOTH])
def test_documented_parameters_are_those_of_the_signature(estimator):
    assert documented(estimator, "Parameters") == list(inspect.signature(estimator).parameters)


@pytest.mark.parametrize("estimator", [ours for ours, _ in BOTH])
def test_documented_defaults_are_those_of_the_signature(estimator):
    for name, parameter in inspect.signature(estimator).parameters.items():
        line = re.search(rf"^{name} : (.*)$", estimator.__doc__, re.MULTILINE).group(1)
        stated = re.search(r"default=(.*)$", line).group(1)
        assert ast.literal_eval(stated) == parameter.default, name


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_signature_is_scikit_learns_with_additions_at_the_end(ours, theirs):
    mine = list(inspect.signature(ours).parameters.values())
    expected = list(inspect.signature(theirs).parameters.values())
    assert [(p.name, p.default, p.kind) for p in mine[: len(expected)]] == [
        (p.name, p.default, p.kind) for p in expected
    ]
    added = mine[len(expected) :]
    assert {"dtype", "device"} <= {p.name for p in added}
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in added)


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_method_signature_is_scikit_learns(ours, theirs, method):
    mine = list(inspect.signature(getattr(ours, method)).parameters.values())
    expected = list(inspect.signature(getattr(theirs, method)).parameters)
    assert [p.name for p in mine[: len(expected)]] == expected
    added = mine[len(expected) :]
    names = ["X_val", "y_val", "sample_weight_val"] if method == "fit" else []
    assert [p.name for p in added] == names
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in added)


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_fitted_attributes_of_scikit_learn_are_there_and_documented(ours, theirs):
    names = documented(ours, "Attributes")
    assert set(documented(theirs, "Attributes")) <= set(names)


def test_public_names_are_the_classes_and_the_functions():
    assert sknn.__all__ == [
        *("FeedForwardClassifier", "FeedForwardRegressor"),
        *("LossCurveDisplay", "PeriodicEmbedding", "TrainingWarning", "WeightsDisplay"),
        *("from_sklearn", "load", "register_onnx", "tabular_pipeline"),
    ]


CALLED = [
    name
    for name, thing in public_objects(sknn).items()
    if not (isinstance(thing, property) or name.endswith("Warning"))  # Python makes warnings
]


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize(("too_many", "wrong"), [((0,) * 60, {}), ((), {"eval_set": 0})])
def test_error_of_a_wrong_argument_names_the_public_class_and_method(name, too_many, wrong):
    if too_many and name.endswith("set_callbacks"):
        pytest.skip("takes any number of callbacks")
    owner, _, method = name.rpartition(".")
    thing = getattr(sknn, owner or name)
    first = (thing(),) if owner.startswith("FeedForward") else ()
    called = getattr(thing, method) if owner else thing
    stated = f"{name}.__init__" if inspect.isclass(called) else name
    with pytest.raises(TypeError, match=rf"^{stated}\(\) (takes|got an unexpected) "):
        called(*first, *too_many, **wrong)


@pytest.mark.parametrize("estimator", [ours for ours, _ in BOTH])
def test_method_of_a_base_class_is_whole_under_its_public_name(estimator):
    for name in ("fit", "save", "set_callbacks", "summary", "to_sklearn"):
        method = getattr(estimator, name)
        assert pickle.loads(pickle.dumps(method)) is method
        assert f"def {name}(self" in inspect.getsource(method)
        (base,) = [c for c in estimator.__mro__[1:] if name in vars(c)][:1]
        assert inspect.signature(method) == inspect.signature(getattr(base, name))
        assert method.__doc__ == getattr(base, name).__doc__
