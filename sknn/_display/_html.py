"""A description of a network in HTML, for the box that scikit-learn draws of an estimator.

The tables use the class names of scikit-learn's diagram. So they have its colours, on dark pages
too, and need no id, style sheet or script of their own: one page can show many estimators.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from sklearn.base import BaseEstimator

from sknn._display._summary import count_text, facts_of

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
    """Return a row of a table whose cells hold texts."""
    texts = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f'<tr class="default">{texts}</tr>'


def network_html(estimator: BaseEstimator) -> str:
    """Return a description of an estimator's network as HTML.

    If `fit` would refuse the parameters, the error message takes the description's place: a
    notebook also shows an estimator to a user who is looking for the mistake.
    """
    try:
        facts = facts_of(estimator)
    except (TypeError, ValueError) as error:
        rows = _row([f"These parameters do not describe a network. {error}"])
        return _TABLE.format(open=" open", title="Network", rows=rows)
    titles, *others = facts.rows
    rows = [_row(titles, "th"), *map(_row, others)]
    title = "Network" if facts.is_fitted else "Network (? is known after fit)"
    training = [_row(item) for item in facts.settings.items()]
    training += [_row(("note", note)) for note in facts.notes]
    return _TABLE.format(open=" open", title=title, rows="\n".join(rows)) + _TABLE.format(
        open=" open" if facts.notes else "", title="Training", rows="\n".join(training)
    )


def caption_of(estimator: BaseEstimator) -> str:
    """Return the line of text below the estimator's name."""
    try:
        facts = facts_of(estimator)
    except (TypeError, ValueError):
        return ""  # The box says what is wrong.
    parts = [" \N{RIGHTWARDS ARROW} ".join(facts.units)]
    if "members" in facts.settings:
        parts.append(f"{facts.settings['members']} members")
    if facts.n_parameters is not None:
        parts.append(f"{count_text(facts.n_parameters)} parameters")
    return ", ".join(parts)
