"""Show the parameters of the estimators under headings, and fold long signatures.

The docstrings list the parameters in the order of the signature, which is scikit-learn's, with
what other parameters there are behind. A page of forty parameters needs headings instead.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes

# The parameters of both estimators, in the order in which their pages show them.
GROUPS = {
    "Network": (
        "hidden_layer_sizes",
        "activation",
        "normalization",
        "initialization",
        "input_scaling",
        "numeric_embedding",
        "n_members",
    ),
    "Loss": ("loss", "focal_gamma", "class_weight", "huber_delta", "quantile", "target_scaling"),
    "Optimization": (
        "solver",
        "learning_rate",
        "learning_rate_init",
        "power_t",
        "warmup_fraction",
        "max_grad_norm",
        "batch_size",
        "shuffle",
        "max_iter",
        "tol",
        "n_iter_no_change",
        "momentum",
        "nesterovs_momentum",
        "beta_1",
        "beta_2",
        "epsilon",
        "max_fun",
    ),
    "Regularization": (
        "alpha",
        "dropout",
        "input_dropout",
        "label_smoothing",
        "regularization_schedule",
    ),
    "Validation": ("early_stopping", "validation_fraction", "scoring"),
    "Running": (
        "random_state",
        "warm_start",
        "verbose",
        "callbacks",
        "dtype",
        "device",
        "process_group",
        "checkpoint_dir",
        "checkpoint_every",
    ),
}
# A signature with more parameters than this is folded.
MOST_SHOWN = 12

_FIELD = ":Parameters:"
_NAME = re.compile(r"    \*\*(\w+)\*\* : ")


def grouped(lines: list[str], owner: str) -> list[str]:
    """Return what numpydoc has made of a class's docstring, with the parameters under headings.

    The class `owner` is part of the headings' anchors.

    Raises
    ------
    KeyError
        If a parameter is in no group.
    """
    start = lines.index(_FIELD) + 1
    end = next((i for i in range(start, len(lines)) if re.match(r"\S", lines[i])), len(lines))
    entries: dict[str, list[str]] = {}
    for line in lines[start:end]:
        name = _NAME.match(line)
        if name:
            entries[name[1]] = []
        if entries:
            entries[list(entries)[-1]].append(line)
    anchors = {heading: f"{owner}-{heading}".lower() for heading in GROUPS}
    shown = []
    for heading, names in GROUPS.items():
        shown += ["", f"    .. rubric:: {heading}", f"       :name: {anchors[heading]}", ""]
        shown += [line for name in names if name in entries for line in entries.pop(name)]
    if entries:
        raise KeyError(f"docs/_ext/parameters.py has no group for {sorted(entries)}")
    links = " · ".join(f"`{heading} <#{anchor}>`__" for heading, anchor in anchors.items())
    return [*lines[:start], "", f"    {links}", *shown, "", *lines[end:]]


def _group_parameters(app, what, name, thing, options, lines: list[str]) -> None:
    if what == "class" and hasattr(thing, "fit"):
        lines[:] = grouped(lines, thing.__name__)


def _fold_signatures(app, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for parameters in list(doctree.findall(addnodes.desc_parameterlist)):
        number = len(list(parameters.findall(addnodes.desc_parameter)))
        if number > MOST_SHOWN:
            fold = f'<details class="signature"><summary>{number} parameters</summary>'
            parameters.replace_self(
                [
                    nodes.raw("", fold, format="html"),
                    parameters.deepcopy(),
                    nodes.raw("", "</details>", format="html"),
                ]
            )


def setup(app) -> dict[str, bool]:
    """Change the docstrings after numpydoc, and the signatures before they are written."""
    app.connect("autodoc-process-docstring", _group_parameters, priority=600)
    app.connect("doctree-resolved", _fold_signatures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
