"""Trainings with a checkpoint that are killed at a chosen moment, and the files they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TARGETS

import sknn
from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._training._epoch import Trainer

X_IRIS, SPECIES = TARGETS["multiclass"]
SMALL = {
    "hidden_layer_sizes": (8, 6),
    "batch_size": 40,
    "learning_rate_init": 0.02,
    "max_iter": 24,
    "n_iter_no_change": 30,
    "random_state": 3,
    "checkpoint_every": 4,
}


def classifier(directory, **parameters):
    return FeedForwardClassifier(**{**SMALL, "checkpoint_dir": directory, **parameters})


def regressor(directory, **parameters):
    return FeedForwardRegressor(**{**SMALL, "checkpoint_dir": directory, **parameters})


def made_for(target, directory, **parameters):
    is_class = target in ("binary", "multiclass", "multilabel")
    return (classifier if is_class else regressor)(directory, **parameters)


class Killed(Exception):
    """An exception that stands for the end of the process."""


@contextmanager
def killed_after(n_epochs, error=Killed):
    """Yield a count of finished epochs, and raise `error` in the epoch after `n_epochs` of them."""
    counted = SimpleNamespace(n_epochs=0)
    epoch = Trainer.epoch

    def counting(self, net=None):
        loss = epoch(self, net)
        if counted.n_epochs == n_epochs:
            raise error
        counted.n_epochs += 1
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "epoch", counting)
        yield counted


def kill(estimator, n_epochs, *data, **more):
    """Start a fit, and break it off in the epoch after the first `n_epochs`."""
    with killed_after(n_epochs), pytest.raises(Killed):
        estimator.fit(*data, **more)


def files(directory):
    return sorted(path.name for path in Path(directory).iterdir())


def the_file(directory):
    (name,) = files(directory)
    return Path(directory) / name


def loaded(path):
    """Return the arrays and the tree of a file."""
    with np.load(path, allow_pickle=False) as archive:
        document, *arrays = (archive[name] for name in archive.files)
    return arrays, json.loads(document.tobytes())["tree"]


PRELUDE = """
import os, pickle, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
from sklearn.datasets import load_iris
from sknn import FeedForwardClassifier
X, y = load_iris(return_X_y=True)
def make(directory, every=1):
    return FeedForwardClassifier(
        (30,), batch_size=10, max_iter=60, n_iter_no_change=100, random_state=5, dropout=0.2,
        early_stopping=True, checkpoint_dir=directory, checkpoint_every=every)
def state(model):
    kept = {k: v for k, v in vars(model).items() if k.endswith("_") or k == "_solver_state"}
    del kept["callbacks_"]
    kept["coefs_"] = [c.tobytes() for c in kept["coefs_"]]
    return repr(sorted(kept.items(), key=str))
"""


def run(code, *arguments, timeout=300, returncode=0):
    """Run the prelude and `code` in a new Python that finds this sknn; return what they print."""
    root = str(Path(sknn.__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-u", "-c", PRELUDE + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        start_new_session=hasattr(os, "killpg"),  # the code may end its whole group
    )
    assert done.returncode == returncode, done.stderr
    return done.stdout
