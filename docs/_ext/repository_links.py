"""Turn links between files of the repository into links between pages of the site.

The pages are read on GitHub too, so their links name files. Most of these files have a page of
another name on the site: an example is a page of the gallery, and a page includes ``SECURITY.md``.
A link to a file without a page, such as a test, leads to the file itself.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from gallery_sources import section_of

# Files outside docs/, and the pages that show them.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "installation.md",
    "SECURITY.md": "security.md",
    "examples/benchmarks/README.md": "benchmarks.md",
}

# `_LINK` matches the target of a Markdown link that has no scheme and is not only an anchor.
# `_CODE` matches code, in which links are left as they are.
_LINK = re.compile(r"(?<=\]\()(?![a-z][a-z0-9+.-]*:|#|/|<)([^)#\s]+)(#[^)\s]+)?(?=\))")
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`(?!\])", re.MULTILINE | re.DOTALL)


def page_of(path: str) -> str | None:
    """Return the page, relative to docs/, that shows a file of the repository, or None."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    example = re.fullmatch(r"examples/(plot_\w+)\.py", path)
    if example:
        return f"auto_examples/{section_of(example[1])}/{example[1]}.rst"
    return None


def anchor_of(path: str) -> str | None:
    """Return the anchor of a script on the page of scripts outside the gallery, or None."""
    script = re.fullmatch(r"examples/(\w+)\.py", path)
    return f"#{script[1]}py" if script else None


def rewrite(text: str, source: Path, root: Path, page: Path) -> str:
    """Return the Markdown of the file `source` with the links that it needs as part of `page`."""

    def target(match: re.Match) -> str:
        path = Path(os.path.normpath(source.parent / match[1]))
        inside = path.relative_to(root).as_posix() if path.is_relative_to(root) else None
        if inside is None:
            return match[0]
        shown, anchor = page_of(inside), match[2] or ""
        if shown is None and anchor_of(inside) is not None:
            shown, anchor = "scripts.md", anchor_of(inside)
        there = root / "docs" / shown if shown is not None else path
        return Path(os.path.relpath(there, page.parent)).as_posix() + anchor

    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(target, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _LINK.sub(target, text[end:])])


def _rewrite_page(app, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname)).resolve()
    if page.suffix == ".md":
        source[0] = rewrite(source[0], page, Path(app.srcdir).resolve().parent, page)


def _rewrite_included(app, path: Path, docname: str, source: list[str]) -> None:
    docs = Path(app.srcdir).resolve()
    page = Path(app.env.doc2path(docname)).resolve()
    included = (docs / path).resolve()
    if included.suffix == ".md":
        source[0] = rewrite(source[0], included, docs.parent, page)


def setup(app) -> dict[str, bool]:
    """Rewrite the links of pages, and of the files that they include, as Sphinx reads them."""
    app.connect("source-read", _rewrite_page)
    app.connect("include-read", _rewrite_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
