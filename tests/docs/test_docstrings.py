"""The docstrings of all public names pass numpydoc's checks."""

import inspect
import re
import runpy
from pathlib import Path

import pytest
from numpydoc.validate import validate

import sknn

ROOT = Path(__file__).resolve().parents[2]
public_api = runpy.run_path(str(ROOT / "docs" / "_ext" / "public_api.py"))
PUBLIC = public_api["public_objects"](sknn)
NAMES = sorted(PUBLIC)

# What was there from the beginning needs no note of its version.
FIRST_RELEASE = (0, 2)

# Checks of numpydoc that are left out, each with the reason. All others have to pass.
LEFT_OUT = {
    "ES01": "a summary that says everything needs no second paragraph",
    "RT02": "`self : object` is what scikit-learn's own methods return, by these words",
}
LEFT_OUT_OF_MEMBERS = {
    "EX01": "the example of the class calls its methods",
    "SA01": "the class has the references, and its members are on the same page",
}


def faults(name):
    """Return numpydoc's findings on a public name, without the checks that are left out."""
    left_out = LEFT_OUT | LEFT_OUT_OF_MEMBERS if "." in name else LEFT_OUT
    return [
        f"{code}: {text}"
        for code, text in validate(f"sknn.{name}")["errors"]
        if code not in left_out
    ]


@pytest.mark.parametrize("name", NAMES)
def test_docstring_of_a_public_name_follows_numpydoc(name):
    assert not faults(name)


def test_public_names_include_methods_and_properties():
    assert {"load", "FeedForwardClassifier.partial_fit", "FeedForwardRegressor.net_"} <= set(NAMES)


@pytest.mark.parametrize("name", ["onnx_parser", "onnx_converter", "set_params", "get_params"])
def test_public_names_have_no_hooks_and_no_methods_of_scikit_learn(name):
    assert hasattr(sknn.FeedForwardClassifier, name)
    assert f"FeedForwardClassifier.{name}" not in NAMES


@pytest.mark.parametrize("code", sorted(LEFT_OUT | LEFT_OUT_OF_MEMBERS))
def test_a_check_that_is_left_out_would_find_something(code):
    # A check that finds nothing need not be left out.
    found = {code for name in NAMES for code, _ in validate(f"sknn.{name}")["errors"]}
    assert code in found


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_no_version_before_the_first_release(name):
    text = inspect.getdoc(PUBLIC[name])
    noted = re.findall(r"version(?:added|changed):: (\d+)\.(\d+)", text)
    assert all((int(major), int(minor)) > FIRST_RELEASE for major, minor in noted)
