"""Each folder of the package imports only lower folders, their public modules, and its libraries.

A folder is called a room, and the modules that other rooms may import are its doors.
"""

from __future__ import annotations

import ast
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sknn

PACKAGE = Path(sknn.__file__).parent
# A room imports only rooms of the floors below its own. "" is the root of the package.
FLOORS = [
    ("",),
    ("_exports", "_display"),
    ("_training",),
    ("_network", "_input"),
    ("_data",),
    ("_files", "_platform"),
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
ANY = {"numpy", "scipy", "sklearn"}
# Libraries that each room may import: first at module level, then also inside functions.
LIBRARIES = {
    "": (ANY | {"joblib", "threadpoolctl"}, {"matplotlib", "skrub", "torch"}),
    "_display": (ANY, {"matplotlib", "torch"}),
    "_exports": (ANY | {"onnx", "torch"}, {"skl2onnx"}),
    "_training": (ANY | {"joblib", "skorch", "torch"}, {"tqdm"}),
    "_network": (ANY | {"torch"}, set()),
    "_input": (ANY, {"torch"}),
    "_data": (ANY | {"torch"}, set()),
    "_files": ({"numpy"}, {"safetensors"}),
    "_platform": (ANY | {"threadpoolctl", "torch"}, set()),
}


def name_of(path: Path) -> str:
    parts = ("sknn", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else ""


def imports_of(module: str) -> list[tuple[str, bool]]:
    """Return the modules that a module imports, each with whether it does so at module level.

    Imports for type hints count as imports inside functions.
    """
    tree = MODULES[module]
    outer = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in outer) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name the whole path"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(n if n in MODULES else node.module, id(node) in outer) for n in names]
    return found


OWN = {module: {i for i, _ in imports_of(module) if i in MODULES} for module in MODULES}


def doors_of(room: str) -> set[str]:
    """Return the modules that the last sentence of a room's docstring names."""
    text = ast.get_docstring(MODULES[f"sknn.{room}"])
    return set(re.findall(r"`(_\w+)`", text.partition("Entered from outside:")[2]))


def test_modules_form_no_circle():
    assert list(TopologicalSorter(OWN).static_order())  # raises CycleError, which names the circle


def test_rooms_import_rooms_below_them_only():
    up = {
        (module, imported)
        for module, others in OWN.items()
        for imported in others
        if room_of(module) != room_of(imported)
        and FLOOR[room_of(module)] >= FLOOR[room_of(imported)]
    }
    assert not up


@pytest.mark.parametrize("room", LIBRARIES)
def test_room_imports_libraries_that_it_may(room):
    at_import, inside = LIBRARIES[room]
    for module in MODULES:
        if room_of(module) == room:
            for imported, is_outer in imports_of(module):
                library = imported.partition(".")[0]
                if library not in sys.stdlib_module_names and library != "sknn":
                    assert library in (at_import if is_outer else at_import | inside), module


@pytest.mark.parametrize("room", [room for room in FLOOR if room])
def test_room_is_entered_by_its_doors(room):
    entered = {
        imported.rpartition(".")[2]
        for module, others in OWN.items()
        for imported in others
        if room_of(imported) == room != room_of(module)
    }
    assert entered == doors_of(room)


@pytest.mark.parametrize("room", [room for room in FLOOR if room])
def test_room_has_nothing_but_a_docstring_in_its_init(room):
    (only,) = MODULES[f"sknn.{room}"].body
    assert isinstance(only, ast.Expr) and ast.get_docstring(MODULES[f"sknn.{room}"])


def test_base_names_of_modules_are_unique():
    names = [module.rpartition(".")[2] for module in MODULES]
    assert len(names) == len(set(names))
