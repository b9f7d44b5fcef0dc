"""Format results as Markdown tables and insert these tables into README.md."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")


def heading(row: dict[str, Any]) -> str:
    """Return the first two lines of the table for this row, with numbers aligned to the right."""
    columns = [name for name in row if name != "unsteady"]
    sides = [" --- " if isinstance(row[name], str) else " ---: " for name in columns]
    return f"| {' | '.join(columns)} |\n|{'|'.join(sides)}|"


def line(row: dict[str, Any]) -> str:
    """Return the row as a line of a table, with a ~ after each unsteady number."""
    unsteady = row.get("unsteady", [])
    cells = [
        cell(name, value) + "~" * (name in unsteady)
        for name, value in row.items()
        if name != "unsteady"
    ]
    return f"| {' | '.join(cells)} |"


def cell(name: str, value: Any) -> str:
    """Format ratios with two decimals and other fractions with three significant digits."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if name.startswith("/ "):
        return f"{value:.2f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def table(rows: list[dict[str, Any]]) -> str:
    return "\n".join([heading(rows[0]), *map(line, rows)]) if rows else "Nothing was measured."


def facts(machine: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def fill_in(text: str, results: dict[str, Any]) -> str:
    """Replace the text between the markers of each benchmark for which there are results.

    The markers are `<!-- steps -->` and `<!-- end steps -->`, each on its own line.
    """
    parts = {name: table(rows) for name, rows in results.items() if name != "machine"}
    parts["machine"] = facts(results["machine"]) + "."
    for name, part in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
        text, found = re.subn(
            pattern, lambda m, part=part: f"{m[1]}\n{part}\n\n{m[2]}", text, flags=re.DOTALL
        )
        if not found:
            raise ValueError(f"README.md has no place <!-- {name} --> ... <!-- end {name} -->")
    return text
