"""The fenced code blocks of README.md and of the guide, for `.ci/run` and for the tests.

``python .ci/readme_blocks.py bash 2`` prints the second block marked as bash.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def code_blocks(language, page=README):
    """Return (line number of the first code line, code) of each block in that language."""
    text = Path(page).read_text(encoding="utf-8")
    pattern = re.compile(rf"^```{re.escape(language)}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        (text.count("\n", 0, block.start(1)) + 1, block.group(1))
        for block in pattern.finditer(text)
    ]


def blocks_with_output(page):
    """Return (line number, code, output) of each Python block, as `code_blocks` does.

    The output is that of a block marked as such, which follows. It is empty if there is none.
    """
    text = Path(page).read_text(encoding="utf-8")
    pattern = re.compile(
        r"^```python\n(.*?)^```$(?:\n\n```output\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
    )
    return [
        (text.count("\n", 0, block.start(1)) + 1, block.group(1), block.group(2) or "")
        for block in pattern.finditer(text)
    ]


if __name__ == "__main__":
    language, number = sys.argv[1], int(sys.argv[2])
    print(code_blocks(language)[number - 1][1], end="")
