"""Fail if a link within the built site leads nowhere, or if a page needs the network.

``python .ci/check_links.py docs/_build/html``

Every target of a link, an image, a script or a style sheet within the site must be a file of the
site, and its fragment must be an anchor of that page. Links to other sites are not checked, but
what a browser loads by itself (scripts, styles, fonts, images) must not come from another site.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# Attributes with an address that the browser fetches by itself.
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
LINKED = {("a", "href"), ("area", "href")}
_CSS_TARGET = re.compile(r"""url\(\s*['"]?([^'")]+)['"]?\s*\)|@import\s+['"]([^'"]+)['"]""")
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class Reference(NamedTuple):
    """A target in a file, and whether a browser loads it by itself."""

    target: str
    is_loaded: bool


class _Page(HTMLParser):
    """Parser that collects the anchors and the references of a page."""

    def __init__(self):
        super().__init__()
        self.anchors = set()
        self.references = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        for name, value in attrs:
            if value is None:
                continue
            if (tag, name) in LOADED or (tag, name) == ("link", "href"):
                self.references.append(Reference(value, True))
            elif (tag, name) in LINKED:
                self.references.append(Reference(value, False))
            elif name == "srcset":
                for candidate in value.split(","):
                    self.references.append(Reference(candidate.split()[0], True))


def _read(path):
    return path.read_text(encoding="utf-8")


def _page(path):
    page = _Page()
    page.feed(_read(path))
    return page


def _style(path):
    text = _CSS_COMMENT.sub("", _read(path))
    return [Reference(first or second, True) for first, second in _CSS_TARGET.findall(text)]


def problems(site):
    """Return the faults of a built site, one line for each."""
    site = Path(site).resolve()
    files = [path for path in sorted(site.rglob("*.html")) if path.parent.name != "_static"]
    pages = {path: _page(path) for path in files}  # `_static` has templates of the theme
    references = {path: page.references for path, page in pages.items()}
    references |= {path: _style(path) for path in sorted(site.rglob("*.css"))}
    found = []
    for path, targets in references.items():
        for target, is_loaded in targets:
            fault = _fault(path, target, is_loaded, site, pages)
            if fault:
                found.append(f"{path.relative_to(site)}: {target}: {fault}")
    return found


def _fault(path, target, is_loaded, site, pages):
    """Return what is wrong with one reference, or None."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        outside = parts.netloc or parts.scheme not in ("data", "mailto", "javascript")
        return "would be loaded from elsewhere" if is_loaded and outside else None
    if parts.path.startswith("/"):
        return "is absolute, so it does not work from a directory"
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if there.is_dir():
        there /= "index.html"
    if not there.is_relative_to(site) or not there.is_file():
        return "no such file"
    # An empty fragment and "top" both mean the beginning of any page.
    fragment = unquote(parts.fragment)
    if fragment not in ("", "top") and there in pages and fragment not in pages[there].anchors:
        return "no such anchor"
    return None


def main(site):
    """Print the faults and return their number."""
    if not (Path(site) / "index.html").is_file():
        print(f"{site} has no index.html: build the site first")
        return 1
    found = problems(site)
    print("\n".join(found) if found else "every link within the site leads somewhere")
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1))
