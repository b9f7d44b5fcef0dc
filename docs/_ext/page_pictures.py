"""Two directives for pictures in pages: that of an example, and what the page's own blocks draw.

Printed tables get a class of their own, because their lines must not be broken on a phone.
The pictures are left out of builds that do not run the gallery (``-D plot_gallery=0``).
"""

from __future__ import annotations

import contextlib
import io
import runpy
import warnings
from pathlib import Path

from docutils import nodes
from gallery_sources import section_of
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "_pictures/drawn"
blocks_with_output = runpy.run_path(str(ROOT / ".ci" / "readme_blocks.py"))["blocks_with_output"]


class _Picture(SphinxDirective):
    """A directive whose content is the caption of a picture."""

    has_content = True

    def figure(self, uri: str, link: str | None = None) -> list[nodes.Node]:
        """Return the picture with its caption, which leads to the page `link` if there is one."""
        text = " ".join(self.content)
        caption = nodes.caption("", text)
        if link is not None:
            page = {"reftarget": link, "refdoc": self.env.docname, "refexplicit": True}
            inside = nodes.inline("", text)
            caption = nodes.caption(
                "", "", addnodes.pending_xref("", inside, refdomain="std", reftype="doc", **page)
            )
        self.env.note_dependency(str(ROOT / "docs" / uri.lstrip("/")))
        return [nodes.figure("", nodes.image(uri=uri, alt=text), caption)]


class GalleryPicture(_Picture):
    """Show the picture of an example, which leads to the example's page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder, name = section_of(self.arguments[0]), self.arguments[0]
        uri = f"/auto_examples/{folder}/images/sphx_glr_{name}_001.png"
        if not (ROOT / "docs" / uri.lstrip("/")).exists():
            if self.config.sphinx_gallery_conf["plot_gallery"]:
                raise self.error(f"The example {name} has no picture {uri}")
            return []
        return self.figure(uri, f"/auto_examples/{folder}/{name}")


class Drawn(_Picture):
    """Show the last figure that the Python blocks above the directive have drawn."""

    def run(self) -> list[nodes.Node]:
        import matplotlib as mpl

        if not self.config.sphinx_gallery_conf["plot_gallery"]:
            return []
        mpl.use("Agg")
        import matplotlib.pyplot as plt

        # Later directives of a page go on where the first ones have stopped.
        page = self.env.temp_data.setdefault("drawn", {"names": {}, "done": 0, "number": 0})
        path = Path(self.env.doc2path(self.env.docname))
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            for line, code, _ in blocks_with_output(path):
                if page["done"] < line < self.lineno:
                    exec(compile("\n" * (line - 1) + code, str(path), "exec"), page["names"])  # noqa: S102 (our own page)
                    page["done"] = line
        page["number"] += 1
        uri = f"/{FOLDER}/{path.stem}-{page['number']}.png"
        file = ROOT / "docs" / uri.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        plt.gcf().savefig(file, dpi=150)
        plt.close("all")
        return self.figure(uri)


def _mark_tables(app, doctree: nodes.document) -> None:
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "output" and "-" * 20 in block.astext():
            block["classes"].append("printed-table")


def setup(app) -> dict[str, bool]:
    """Add the directives, and the class of printed tables."""
    app.connect("doctree-read", _mark_tables)
    app.add_directive("gallery-picture", GalleryPicture)
    app.add_directive("drawn", Drawn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
