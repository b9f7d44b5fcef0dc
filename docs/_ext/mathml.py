"""Write formulas as MathML, which browsers show without a script, fonts or the network.

This is a renderer for ``html_math_renderer`` that uses the converter of docutils.
"""

from __future__ import annotations

import html
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)

# LaTeX that docutils does not convert: in text within a formula it keeps the backslash before an
# underscore, it does not know the command for typewriter text, and it has \dots only under another
# name.
_TEXT = re.compile(r"\\text(?:tt)?\{((?:[^{}\\]|\\.)*)\}")
_DOTS = re.compile(r"\\dots(?![a-zA-Z])")


def _as_docutils_has_it(formula: str) -> str:
    formula = _TEXT.sub(lambda text: rf"\text{{{text[1]}}}".replace(r"\_", "_"), formula)
    return _DOTS.sub(lambda _: r"\ldots", formula)


def _markup(node: nodes.Element, as_block: bool) -> str:
    """Return the MathML of a formula, or warn and return its source if it cannot be converted."""
    try:
        return tex2mathml(_as_docutils_has_it(node.astext()), as_block=as_block)
    except MathError as error:
        logger.warning("formula cannot be shown as MathML: %s", error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_inline(translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(f'<span class="math notranslate">{_markup(node, False)}</span>')
    raise nodes.SkipNode


def visit_display(translator, node: nodes.math_block) -> None:
    """Write a displayed formula, with a number if it has a label."""
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({node["number"]})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(f"{_markup(node, True)}</div>\n")
    raise nodes.SkipNode


def setup(app) -> dict[str, bool]:
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
