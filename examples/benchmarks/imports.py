"""Measure the time of an import and of a first fit, from the start of Python.

Times are in seconds. Each script runs in a new interpreter, and the scripts take turns. The files
are in the cache of the operating system, because the process that starts the scripts has imported
all of them. *import* ends after the import. sknn imports torch only when it first trains or
predicts, so *first fit* also measures the time until the end of one epoch on ten samples.
"""

import functools
import subprocess
import sys
from collections.abc import Iterator

from examples.benchmarks._timing import Options, compared, seconds, take_turns

FIT = ".fit([[x, -x] for x in range(10)], [0, 1] * 5)"
IMPORTS = {
    "sknn": "from sknn import FeedForwardClassifier",
    "scikit-learn": "from sklearn.neural_network import MLPClassifier",
    "skorch": "import skorch",
    "torch": "import torch",
    "Python alone": "pass",
}
FIRST_FITS = {
    "sknn": f"{IMPORTS['sknn']}\nFeedForwardClassifier(max_iter=1){FIT}",
    "scikit-learn": f"{IMPORTS['scikit-learn']}\nMLPClassifier(max_iter=1){FIT}",
}


def time_of(script: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", script]
    return seconds(functools.partial(subprocess.run, command, check=True))


def run(options: Options) -> Iterator[dict]:
    for what, scripts in (("import", IMPORTS), ("first fit", FIRST_FITS)):
        measure = {peer: functools.partial(time_of, script) for peer, script in scripts.items()}
        results = take_turns(measure, options.count(full=7, quick=1), burn_in=0)
        row = compared({"until": what}, {peer: results.get(peer) for peer in IMPORTS})
        del row["/ Python alone"]
        yield row
