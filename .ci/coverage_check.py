"""Fail if the tests run too little of the package.

``coverage json -o coverage.json && python .ci/coverage_check.py coverage.json``

coverage's own limit is for lines and branches together, where the many lines hide the branches.
"""

import json
import sys

LEAST = {"lines": 98.0, "branches": 95.0}  # percent


def percentages(report):
    """Return the percentages of the lines and of the branches that ran."""
    totals = report["totals"]
    pairs = {
        "lines": (totals["covered_lines"], totals["num_statements"]),
        "branches": (totals["covered_branches"], totals["num_branches"]),
    }
    return {kind: 100 * covered / number for kind, (covered, number) in pairs.items()}


def main(path):
    """Print both percentages and return how many of them are too low."""
    with open(path, encoding="utf-8") as file:
        reached = percentages(json.load(file))
    for kind, percentage in reached.items():
        print(f"{percentage:.2f}% of {kind} ran, and {LEAST[kind]:g}% have to")
    return sum(reached[kind] < LEAST[kind] for kind in LEAST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
