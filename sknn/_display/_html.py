"""What is known of a network as HTML, for the box that scikit-learn draws of an estimator.

Tables are those of scikit-learn's diagram, by its class names. So they have its colours, in dark
pages too, and nothing here has an id, a style sheet or a script: many can stand on one page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from sknn._display._summary import COLUMNS, count_text, facts_of

if TYPE_CHECKING:
    from sknn._base import BaseFeedForward

_TABLE = """
<div class="estimator-table">
    <details{open}>
        <summary>{title}</summary>
        <table class="parameters-table"><tbody>
{rows}
        </tbody></table>
    </details>
</div>
"""


def _row(cells: Iterable[str], tag: str = "td") -> str:
    """A row of a table, of texts."""
    texts = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f'<tr class="default">{texts}</tr>'


def network_html(estimator: BaseFeedForward) -> str:
    """The network of an estimator as HTML.

    Parameters that are of no network, which `fit` would refuse, are told of in its place: a
    notebook shows an estimator also to those who look for their mistake.
    """
    try:
        facts = facts_of(estimator)
    except (TypeError, ValueError) as error:
        rows = _row([f"There is no network of these parameters. {error}"])
        return _TABLE.format(open=" open", title="Network", rows=rows)
    rows = [_row(COLUMNS, "th"), *(_row(layer.cells) for layer in facts.layers)]
    rows += [_row(("total", *[""] * (len(COLUMNS) - 2), count_text(facts.n_parameters)))]
    title = "Network" if facts.is_fitted else "Network (? is known after fit)"
    training = [_row(item) for item in facts.settings.items()]
    return _TABLE.format(open=" open", title=title, rows="\n".join(rows)) + _TABLE.format(
        open="", title="Training", rows="\n".join(training)
    )


def caption_of(estimator: BaseFeedForward) -> str:
    """One line below the estimator's name, as text."""
    try:
        facts = facts_of(estimator)
    except (TypeError, ValueError):
        return ""  # the box says why
    units = " \N{RIGHTWARDS ARROW} ".join(facts.units)
    if facts.n_parameters is None:
        return units
    return f"{units}, {count_text(facts.n_parameters)} parameters"
