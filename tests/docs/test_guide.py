"""The guide quotes the messages, losses and figures of the code as they are, and its links work."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._network._losses import classification_loss, regression_loss
from sknn._training._schedules import ENDS_OF_WAVES
from sknn._training._settings import batch_size_by_rows, epochs_by_rows
from sknn._training._waves import (
    LEAST_GAIN,
    MOST_RISE,
    PER_RISE,
    RAISED_DECAY,
    RAISED_DROPOUT,
    SPREAD,
)

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
code_blocks = runpy.run_path(str(ROOT / ".ci" / "readme_blocks.py"))["code_blocks"]


def text_of(node):
    """Return a string of the code as the guide quotes it, with dots for each value.

    A sum of strings is one string. Returns None for other nodes.
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "..." for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None or right is None else left + right
    return None


@cache
def nodes_of_the_package():
    paths = sorted((ROOT / "sknn").rglob("*.py"))
    return [n for path in paths for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def normal(text):
    """Return a text on one line, with three dots where a full stop follows the dots of a value."""
    return " ".join(text.split()).replace("....", "...")


QUOTED = [(line, normal(text)) for line, text in code_blocks("text", GUIDE / "troubleshooting.md")]


@pytest.fixture(scope="module")
def strings():
    found = (text_of(node) for node in nodes_of_the_package())
    return [normal(text) for text in found if text]


@pytest.mark.parametrize("message", sorted({message for _, message in QUOTED}))
def test_message_quoted_in_the_guide_is_one_of_the_code(message, strings):
    assert any(message in text for text in strings)


def warnings_of_the_package():
    """Return the text of every `warnings.warn` of the package, and of every `Note`."""
    calls = [
        (ast.unparse(node.func), node.args)
        for node in nodes_of_the_package()
        if isinstance(node, ast.Call)
    ]
    given = [args[0] for name, args in calls if name == "warnings.warn"]
    notes = [args[1] for name, args in calls if name == "Note"]
    return [text_of(node) for node in given + notes if ast.unparse(node) != "self.warning"]


def test_every_warning_of_the_code_is_explained_in_the_guide():
    given = warnings_of_the_package()
    assert len(given) > 5
    lines = (GUIDE / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    heading = lines.index("## Warnings")
    explained = {message for line, message in QUOTED if line > heading}
    for text in given:
        assert text is not None
        assert normal(text) in explained


def table_of_losses():
    """Yield the estimator, the loss and the other cells of each line of the page's two tables."""
    page = (GUIDE / "losses.md").read_text(encoding="utf-8")
    classifier, regressor = page.split("For `FeedForwardRegressor`:")
    for kind, part in ((FeedForwardClassifier, classifier), (FeedForwardRegressor, regressor)):
        for name, cells in re.findall(r'^\| `"(\w+)"` \|(.*)\|$', part, re.MULTILINE):
            yield kind, name, [cell.strip() for cell in cells.split("|")]


def test_table_of_losses_has_every_loss_with_its_output_activation():
    seen = {FeedForwardClassifier: set(), FeedForwardRegressor: set()}
    for kind, name, (target, output_activation, *_) in table_of_losses():
        seen[kind].add(name)
        if kind is FeedForwardRegressor:
            loss = regression_loss(name, huber_delta=1.0, quantile=(0.5,))
        else:
            is_multiclass = target == "multiclass"
            loss = classification_loss(
                name, is_multiclass=is_multiclass, label_smoothing=0.0, focal_gamma=2.0
            )
        assert output_activation == f"`{loss.output_activation}`", (kind, name)
    for kind, names in seen.items():
        assert names == kind._parameter_constraints["loss"][0].options


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_table_of_regularization_is_what_its_block_computes():
    page = GUIDE / "regularization.md"
    stated = re.findall(
        r"^\|[^|]*\| (\d\.\d+) \| (\d\.\d+) \| (\d\.\d+) \|$",
        page.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    (_, code), *_ = code_blocks("python", page)
    namespace = {}
    exec(code, namespace)  # noqa: S102 (our own page)
    computed = list(namespace["table"].values())
    assert len(stated) == len(computed) == len(namespace["means"])
    for line, row in zip(stated, computed, strict=True):
        # The results of long trainings differ a little between machines.
        np.testing.assert_allclose(np.array(line, float), row, rtol=0.15, atol=0.02)


def test_links_of_the_guide_lead_to_pages_and_headings_that_exist():
    for page in GUIDE.glob("*.md"):
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), (page.name, target)
            if anchor:
                assert anchor in anchors(file), (page.name, target)


def anchors(page):
    """Return the anchors that GitHub and MyST give to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_table_of_batches_is_the_rule_by_rows():
    page = (GUIDE / "tables.md").read_text(encoding="utf-8")
    row = r"^\| (?:below ([\d,]+)|300,000 or more) \| (\d+) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    limits = [int(limit.replace(",", "")) for limit, _ in rows[:-1]]
    sizes = [int(size) for _, size in rows]
    assert len(sizes) == 6 and limits[-1] == 300_000
    assert [batch_size_by_rows(limit - 1) for limit in limits] == sizes[:-1]
    assert [batch_size_by_rows(limit) for limit in limits] == sizes[1:]
    prose = " ".join(page.split())
    assert "is 128 for fewer than 1,000 rows, and 64 for 1,000 to 50,000 rows" in prose
    assert "processes 3.2 million rows in total, but it is at least 8" in prose
    assert epochs_by_rows(999) == 128
    assert epochs_by_rows(1_000) == epochs_by_rows(50_000) == 64
    assert epochs_by_rows(100_000) * 100_000 == 3_200_000
    assert epochs_by_rows(10_000_000) == 8


def test_ends_of_the_waves_are_those_of_the_page():
    page = (GUIDE / "tables.md").read_text(encoding="utf-8")
    assert np.allclose(ENDS_OF_WAVES, np.array([1, 3, 7, 15]) / 15)
    ends = [round(64 * end) for end in ENDS_OF_WAVES]
    assert "after the epochs {}, {}, {} and {}".format(*ends) in page
    assert (LEAST_GAIN, SPREAD) == (0.04, 0.5) and r"4% + $0.5 / \sqrt{n}$" in page
    prose = " ".join(page.split())
    assert MOST_RISE == 0.1 and "or increased by at most 10%" in prose
    assert RAISED_DROPOUT == 2 and "the dropout rates are doubled" in prose
    assert RAISED_DECAY == 5 and "the weight decay is five times as high" in prose
    assert PER_RISE == 5 and "$1 + 5r$" in prose
