"""Fail where the tests leave too much of the package unrun.

``coverage json -o coverage.json && python .ci/coverage_check.py coverage.json``

coverage's own limit is on lines and branches together, in which the many lines hide the branches.
"""

import json
import sys

LEAST = {"lines": 98.0, "branches": 95.0}  # percent


def percentages(report):
    """How many percent of the lines, and of the branches, ran."""
    totals = report["totals"]
    pairs = {
        "lines": (totals["covered_lines"], totals["num_statements"]),
        "branches": (totals["covered_branches"], totals["num_branches"]),
    }
    return {kind: 100 * covered / number for kind, (covered, number) in pairs.items()}


def main(path):
    """Print both figures, and return how many are too low."""
    with open(path, encoding="utf-8") as file:
        reached = percentages(json.load(file))
    for kind, percentage in reached.items():
        print(f"{percentage:.2f}% of {kind} ran, and {LEAST[kind]:g}% have to")
    return sum(reached[kind] < LEAST[kind] for kind in LEAST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
