"""The examples of the README and the pages run, and `.ci/run` finds its commands in the README."""

import ast
import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest
import torch
from conftest import torch_threads

ROOT = Path(__file__).resolve().parents[2]
readme_blocks = runpy.run_path(str(ROOT / ".ci" / "readme_blocks.py"))
code_blocks = readme_blocks["code_blocks"]
blocks_with_output = readme_blocks["blocks_with_output"]

# Folders of pages that the build of the site writes. Their contents are tested at the source.
BUILT = {"_build", "_examples", "_pictures", "api", "auto_examples"}
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
    *("additions", "cluster", "coming_from", "elsewhere", "evaluation", "getting_started"),
    *("index", "losses", "long_searches", "persistence", "pictures", "quantiles"),
    *("regularization", "solvers", "streams", "tables", "troubleshooting"),
}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


# Code of this width fits beside both sidebars of the site. The README is not part of it.
WIDTH = 80
WIDTH_OF_README = 100

_NUMBER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w])")


def is_shown_by(shown, printed):
    """Return whether a page's output is what was printed, up to white space.

    Three dots stand for any text. The results of trainings differ a little between machines, so
    numbers agree if they differ by less than 15%, and those with a point also by less than 0.02.
    """
    pattern, numbers = "", []
    for i, part in enumerate(_NUMBER.split(shown)):
        if i % 2:
            numbers.append(part)
            pattern += _NUMBER.pattern
        else:
            texts = re.split(r"(\.\.\.|\s+)", part)
            pattern += "".join(
                r"(?s:.*?)" if text == "..." else r"\s*" if text.isspace() else re.escape(text)
                for text in texts
            )
    found = re.fullmatch(rf"\s*{pattern}\s*", printed)
    return found is not None and all(
        abs(float(a) - float(b)) <= 0.15 * abs(float(a)) + 0.02 * ("." in a)
        for a, b in zip(numbers, found.groups(), strict=True)
    )


@pytest.mark.filterwarnings("error::sknn.TrainingWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.long] * (p.stem in LONG)) for p in WITH_PYTHON],
    ids=name_of,
)
def test_python_blocks_of_a_page_run_in_order_and_print_what_it_shows(page, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # Dask would set them and not restore them
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": "page"}
    with torch_threads(torch.get_num_threads()):  # a page may set the number
        for line, code, output in blocks_with_output(page):
            # The blank lines make the line numbers of a traceback those of the page.
            program = compile("\n" * (line - 1) + code, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(program, namespace)  # noqa: S102 (our own pages)
            assert is_shown_by(output, printed.getvalue()), (line, printed.getvalue())


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("R2 0.52\n", "R2 0.53\n", True),
        ("R2 0.52\n", "R2 0.72\n", False),
        ("64 units", "64 units\n", True),
        ("4 units", "5 units", False),
        ("[0.5  2. ]", "[0.51 2.0]", True),
        ("-1.5e-05", "-1.6e-05", True),
        ("-1.5e-05", "1.5", False),
        ("took ... seconds", "took 12.5 seconds", True),
        ("True", "False", False),
        ("", "a line", False),
    ],
)
def test_output_that_is_shown_is_compared_by_its_text_and_its_numbers(shown, printed, expected):
    assert is_shown_by(shown, printed) == expected


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_of_a_page_have_short_lines_and_no_assertions(page):
    width = WIDTH_OF_README if page.name == "README.md" else WIDTH
    for line, code, _ in blocks_with_output(page):
        assert max(map(len, code.splitlines())) <= width, line
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code))), line
        assert "testing.assert_" not in code, line


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
