"""The examples of README and guide run, and its commands are the ones that `.ci/run` relies on."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
code_blocks = runpy.run_path(str(ROOT / ".ci" / "readme_blocks.py"))["code_blocks"]

PAGES = (
    "additions",
    "cluster",
    "devices",
    "elsewhere",
    "frames",
    "large_data",
    "persistence",
    "pictures",
    "reproducibility",
    "resume",
    "streams",
)
GUIDE = sorted(f"docs/guide/{path.name}" for path in (ROOT / "docs" / "guide").glob("*.md"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{page}.md" for page in PAGES), *GUIDE],
)
def test_python_blocks_of_a_page_run_in_order(page, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # Dask would set them, and leave them so
    blocks = code_blocks("python", ROOT / page)
    assert blocks
    namespace = {"__name__": "page"}
    for line, code in blocks:
        # The blank lines make the line numbers of a traceback those of the page.
        exec(compile("\n" * (line - 1) + code, str(ROOT / page), "exec"), namespace)  # noqa: S102 (our own pages)


def test_readme_first_bash_blocks_run_quickstart_then_tests():
    (_, quickstart), (_, tests) = code_blocks("bash")[:2]
    assert "examples/quickstart.py" in quickstart
    assert "-m pytest" in tests
    for command in (quickstart, tests):
        assert "-m venv" in command
        assert "-c constraints.txt" in command


def test_quickstart_and_constraints_are_where_the_readme_says():
    assert (ROOT / "examples" / "quickstart.py").is_file()
    assert "torch==" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
