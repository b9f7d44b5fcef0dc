"""Compare sknn with scikit-learn, skorch and torch.

    python -m examples.benchmarks [--quick] [--only NAME ...] [--data FOLDER] [--json FILE]

Run this command in the top directory of a checkout. README.md describes what each benchmark
measures, and the docstring of its module describes how.
"""

import argparse
import importlib
import json
import os
import time
import warnings
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning

from examples.benchmarks import _report
from examples.benchmarks._timing import Options, machine

NAMES = (
    "steps",
    "devices",
    "features",
    "members",
    "limit",
    "fits",
    "tabular",
    "cluster",
    "precision",
    "predict",
    "short_calls",
    "growth",
    "memory",
    "disk",
    "checkpoints",
    "processes",
    "machines",
    "imports",
)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m examples.benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="few, short and noisy measurements")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--data", metavar="FOLDER", help="folder with letter.csv.gz, ...")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file as well")
    parser.add_argument("--repeats", type=int, metavar="N", help="instead of the default of each")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="measure nothing, and write the tables of the --json file into README.md",
    )
    arguments = parser.parse_args(arguments)
    if arguments.readme and not arguments.json:
        parser.error("--readme needs --json FILE with the results")
    return arguments


def main(arguments=None):
    arguments = parse_arguments(arguments)
    if arguments.readme:
        results = json.loads(Path(arguments.json).read_text())
        text = _report.README.read_text(encoding="utf-8")
        _report.README.write_text(_report.fill_in(text, results), encoding="utf-8")
        return
    # All peers stop at max_iter by design. The environment variable is for the processes that some
    # benchmarks start.
    warnings.simplefilter("ignore", ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"
    options = Options(arguments.quick, arguments.repeats, arguments.data)
    results = {"machine": {"run": "quick" if options.quick else "full", **machine()}}
    print(_report.facts(results["machine"]))
    for name in arguments.only:
        benchmark = importlib.import_module(f"examples.benchmarks.{name}")
        print(f"\n{name}: {benchmark.__doc__.splitlines()[0]}\n", flush=True)
        start, rows = time.perf_counter(), []
        for row in benchmark.run(options):
            if not rows:
                print(_report.heading(row))
            print(_report.line(row), flush=True)
            rows.append(row)
        results[name] = rows
        print(f"\n{name} took {time.perf_counter() - start:.0f} s", flush=True)
        if arguments.json:  # after each benchmark, because the next may fail
            Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
