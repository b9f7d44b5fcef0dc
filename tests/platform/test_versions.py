"""The versions that the project supports are those with which its tests are run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(path):
    """Return the pinned versions by name. If a name has several pins, the first one counts."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {match[1]: match[2] for match in reversed(found) if match}


OLDEST = pins(".ci/oldest.txt")


def test_lower_bounds_are_the_versions_of_the_oldest_set():
    extras = PROJECT["optional-dependencies"]
    extras = [extras[name] for name in extras if name not in ("docs", "test")]
    for requirement in sum(extras, PROJECT["dependencies"]):
        name, bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
        if name != "torch":
            assert OLDEST[name] == bound, name


@pytest.mark.parametrize("path", [".ci/oldest.txt", ".ci/others.txt"])
def test_torch_of_each_set_is_that_of_the_constraints(path):
    # This torch is the only small build for CPUs, and all environments of `.ci/run` share it.
    assert pins(path)["torch"] == pins("constraints.txt")["torch"]


def test_readme_names_the_oldest_and_the_pinned_versions():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]]
    pinned = pins("constraints.txt")
    assert rows == [(name, OLDEST[name], pinned[name]) for name in names if name != "torch"]


@pytest.mark.parametrize(
    ("lines", "branches", "expected"), [(98, 95, 0), (97, 95, 1), (98, 94, 1), (97, 94, 2)]
)
def test_coverage_of_lines_and_of_branches_have_separate_limits(
    lines, branches, expected, tmp_path, capsys
):
    main = runpy.run_path(str(ROOT / ".ci" / "coverage_check.py"))["main"]
    totals = f'"covered_lines": {lines}, "num_statements": 100'
    totals += f', "covered_branches": {branches}, "num_branches": 100'
    path = tmp_path / "coverage.json"
    path.write_text(f'{{"totals": {{{totals}}}}}')
    assert main(path) == expected
    assert f"{branches}.00% of branches" in capsys.readouterr().out
