"""Write the reference: one page for each name in ``sknn.__all__``, so that none is missing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from sknn._fitted import HOOKS_OF_SKL2ONNX

TEMPLATES = Path(__file__).resolve().parent.parent / "_templates"


def _listed(thing: type) -> list[str]:
    """Return the names that users look for in a class."""
    return [n for n in sorted(dir(thing)) if n[0] != "_" and n not in HOOKS_OF_SKL2ONNX]


def members(thing: type) -> dict[str, Any]:
    """Return the public members of a class that this package defines, in alphabetical order.

    Methods that scikit-learn defines, such as `get_params`, or makes for every estimator, such as
    `set_fit_request`, are left out, and the hooks that only skl2onnx calls.
    """
    found = {}
    for name in _listed(thing):
        owner = next((c for c in thing.__mro__ if name in vars(c)), None)
        if owner is None or not owner.__module__.startswith("sknn"):
            continue
        if hasattr(BaseEstimator, name) or name.startswith("set_") and name.endswith("_request"):
            continue
        found[name] = inspect.getattr_static(thing, name)
    return found


def inherited(thing: type) -> list[str]:
    """Return the names of the other public methods, which scikit-learn defines or makes."""
    return [
        name
        for name in _listed(thing)
        if name not in members(thing) and callable(getattr(thing, name))
    ]


def public_objects(package: Any) -> dict[str, Any]:
    """Return all public objects by name: those in `__all__`, and the members of its classes."""
    found = {}
    for name in package.__all__:
        found[name] = getattr(package, name)
        if inspect.isclass(found[name]):
            found |= {f"{name}.{m}": member for m, member in members(found[name]).items()}
    return found


def sections(package: Any) -> dict[str, list[str]]:
    """Return the public names under each heading of the reference."""
    things = {name: getattr(package, name) for name in package.__all__}
    classes = [name for name, thing in things.items() if inspect.isclass(thing)]
    estimators = [name for name in classes if hasattr(things[name], "fit")]
    pictures = [name for name in classes if hasattr(things[name], "plot")]
    warnings = [name for name in classes if issubclass(things[name], Warning)]
    others = [name for name in classes if name not in (*estimators, *pictures, *warnings)]
    found = {
        "Estimators": estimators,
        "Functions": [name for name in things if name not in classes],
        "Parameters": others,
        "Pictures": pictures,
        "Warnings": warnings,
    }
    return {heading: names for heading, names in found.items() if names}


def pages(package: Any) -> dict[str, str]:
    """Return the reStructuredText of every page, by the name of its file."""
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    templates = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 (no HTML)
    index = templates.get_template("api_index.rst").render(sections=sections(package))
    made = {"index.rst": index}
    for name in package.__all__:
        thing = getattr(package, name)
        if inspect.isclass(thing):
            own = members(thing)
            made[f"{name}.rst"] = templates.get_template("api_class.rst").render(
                name=name,
                methods=[m for m, member in own.items() if not isinstance(member, property)],
                properties=[m for m, member in own.items() if isinstance(member, property)],
                inherited=inherited(thing),
            )
        else:
            made[f"{name}.rst"] = templates.get_template("api_function.rst").render(name=name)
    return made


def _write_pages(app, config) -> None:
    from gallery_sources import stage

    import sknn

    stage(pages(sknn), Path(app.srcdir) / "api")


def link_pages(app, what, name, thing, options, lines: list[str]) -> None:
    """Turn the names of pages in a docstring, such as docs/persistence.md, into links."""
    lines[:] = [re.sub(r"\bdocs/([a-z_/]+)\.md\b", r":doc:`/\1`", line) for line in lines]


def setup(app) -> dict[str, bool]:
    """Write the reference pages before Sphinx looks for pages."""
    app.connect("config-inited", _write_pages)
    app.connect("autodoc-process-docstring", link_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
