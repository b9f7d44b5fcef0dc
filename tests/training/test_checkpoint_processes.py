"""A training continues in another process after its own process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from checkpoints import PRELUDE, files, loaded, run, the_file

import sknn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.long
def test_another_process_goes_on(tmp_path, capsys):
    out = run(
        """
from sknn._training._epoch import Trainer
epoch, n_epochs = Trainer.epoch, 0
def dying(self, net=None):
    global n_epochs
    if n_epochs == 25:
        print(n_epochs, flush=True)
        os._exit(0)
    n_epochs += 1
    return epoch(self, net)
Trainer.epoch = dying
make(sys.argv[1], 10).fit(X, y)
""",
        tmp_path,
    )
    assert out.split() == ["25"]
    the_file(tmp_path)
    here = {}
    with warnings.catch_warnings():  # the prelude sets a filter
        exec(PRELUDE, here)  # noqa: S102 (the same estimator as in the other process)
        make, state, *data = (here[name] for name in ("make", "state", "X", "y"))
        resumed = make(tmp_path, 10).set_params(verbose=True).fit(*data)
        whole = make(tmp_path / "new", 10).fit(*data)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Continuing after iteration 20, ")
    assert state(resumed) == state(whole)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_random_moments(tmp_path):
    out = run(
        """
import random, signal
directory = sys.argv[1]
whole = state(make(directory + "/whole").fit(X, y))
random.seed(0)
n_kills = n_right = 0
while n_kills < 60 or not n_right:  # longer and longer lives, on a machine that is busy
    process = os.fork()
    if process == 0:
        model = make(directory + "/killed").fit(X, y)
        with open(directory + "/state", "w") as file:
            file.write(state(model))
        os._exit(0)
    time.sleep(random.uniform(0, 0.25 * (1 + n_kills // 60)))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        n_kills += 1
        left = os.listdir(directory + "/killed") if os.path.exists(directory + "/killed") else []
        assert len(left) <= 2, left  # the file, and one half written
    else:
        assert status == 0
        assert open(directory + "/state").read() == whole
        assert os.listdir(directory + "/killed") == []
        n_right += 1
print(n_kills, n_right)
""",
        tmp_path,
        timeout=300,
    )
    n_kills, n_right = map(int, out.split())
    assert n_kills >= 60
    assert n_right >= 1


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on a process")
def test_limit_on_the_size_of_files_is_a_warning(tmp_path):
    out = run(
        """
import resource
directory = sys.argv[1]
whole = state(make(directory + "/whole").fit(X, y))
warnings.simplefilter("always")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (0, 1, 500, 3000, 8000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        limited = state(make(directory + "/limited").fit(X, y))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    messages = [str(w.message) for w in caught if "checkpoint" in str(w.message)]
    print(limited == whole, len(messages), "could not be saved" in messages[0],
          os.listdir(directory + "/limited"))
""",
        tmp_path,
    )
    assert out.splitlines() == ["True 1 True []"] * 5


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_process_killed_from_outside(tmp_path):
    root = str(Path(sknn.__file__).resolve().parents[1])
    code = PRELUDE + "make(sys.argv[1]).set_params(max_iter=100000).fit(X, y)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        while not any(name.endswith(".npz") for name in files(tmp_path)):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    arrays, tree = loaded(next(tmp_path.glob("*.npz")))
    assert len(tree["history"]) >= 1
    assert all(np.isfinite(a).all() for a in arrays)


@pytest.mark.long
def test_example_prints_that_the_models_are_equal():
    path = Path(__file__).resolve().parents[2] / "examples" / "resume.py"
    out = run("import runpy; runpy.run_path(sys.argv.pop(), run_name='__main__')", path)
    assert out.count("Killed after saving sknn-") == 2
    assert "Continuing after iteration " in out
    assert "Files left in the directory: 0" in out
    assert "Epochs: 60 with interruptions, 60 without" in out
    assert "equal: True" in out
