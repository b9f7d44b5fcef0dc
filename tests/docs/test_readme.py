"""The examples of the README and the pages run, and `.ci/run` finds its commands in the README."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from conftest import torch_threads

ROOT = Path(__file__).resolve().parents[2]
code_blocks = runpy.run_path(str(ROOT / ".ci" / "readme_blocks.py"))["code_blocks"]

# Folders of pages that the build of the site writes. Their contents are tested at the source.
BUILT = {"_build", "_examples", "_panels", "_pictures", "api", "auto_examples"}
PAGES = [
    ROOT / "README.md",
    *sorted(
        path
        for path in (ROOT / "docs").rglob("*.md")
        if not BUILT & set(path.relative_to(ROOT / "docs").parts)
    ),
]
WITH_PYTHON = [path for path in PAGES if code_blocks("python", path)]
# The blocks of these pages take some seconds. Those of other pages run in the quick suite.
LONG = {
    *("additions", "cluster", "coming_from", "elsewhere", "evaluation", "index", "losses"),
    *("persistence", "pictures", "regularization", "tables", "troubleshooting"),
}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.filterwarnings("error::sknn.TrainingWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.long] * (p.stem in LONG)) for p in WITH_PYTHON],
    ids=name_of,
)
def test_python_blocks_of_a_page_run_in_order(page, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # Dask would set them and not restore them
    monkeypatch.setenv("MPLBACKEND", "Agg")
    blocks = code_blocks("python", page)
    namespace = {"__name__": "page"}
    with torch_threads(torch.get_num_threads()):  # a page may set the number
        for line, code in blocks:
            # The blank lines make the line numbers of a traceback those of the page.
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)  # noqa: S102 (our own pages)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_of_a_page_are_run_or_say_why_not(page):
    text = page.read_text(encoding="utf-8")
    opened = re.findall(r"^[ >]*(?:```|~~~)+ *(py\w*.*)$", text, re.MULTILINE | re.IGNORECASE)
    not_run = [info for info in opened if re.fullmatch(r"python not-run: \w.*", info)]
    # An indented block, or one with another name for the language, would be shown but never run.
    assert len(opened) - len(not_run) == len(code_blocks("python", page)), opened


def test_pages_that_are_run_include_those_of_the_guide():
    names = {name_of(page) for page in WITH_PYTHON}
    assert {"README.md", "docs/additions.md", "docs/getting_started.md"} <= names


def test_readme_first_bash_blocks_run_quickstart_then_tests():
    (_, quickstart), (_, tests) = code_blocks("bash")[:2]
    assert "examples/quickstart.py" in quickstart
    assert '-m pytest -n 2 -m "not long"' in tests
    for command in (quickstart, tests):
        assert "-m venv" in command
        assert "-c constraints.txt" in command


def test_quickstart_and_constraints_are_where_the_readme_says():
    assert (ROOT / "examples" / "quickstart.py").is_file()
    assert "torch==" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
