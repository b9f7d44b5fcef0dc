"""Trainings of several processes go on from checkpoints, also when torchrun restarts them."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_bit_equal
from joblib import Parallel, delayed
from processes import Team
from sklearn.datasets import load_digits
from test_processes import data, estimator

import sknn
from sknn import FeedForwardClassifier
from sknn._training._stopping import KeepFinishedEpoch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_in_processes.py"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    team = Team(2, tmp_path_factory.mktemp("pair"))
    yield team
    team.close()


class Cut(Exception):
    pass


@contextmanager
def cut_after(epoch):
    """End a training with an error before the end of an epoch."""
    original = KeepFinishedEpoch.on_epoch_end

    def cut(rule, net, **kwargs):
        if len(net.history) == epoch:
            raise Cut
        original(rule, net, **kwargs)

    KeepFinishedEpoch.on_epoch_end = cut
    try:
        yield
    except Cut:
        pass
    finally:
        KeepFinishedEpoch.on_epoch_end = original


def cut_off(rank, parameters, folder, epochs, sizes=(75, 75)):
    """Cut a training off after each of some epochs, and then train to the end."""
    X, y, _ = data("binary")
    rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    parameters = {"max_iter": 6, "checkpoint_every": 2, "process_group": "world"} | parameters
    # Each process has its own path, but only the path of the first process counts.
    parameters["checkpoint_dir"] = folder and f"{folder}{rank or ''}"
    for epoch in epochs:
        with cut_after(epoch):
            estimator("binary", parameters).fit(X[rows], y[rows])
    left = [path.suffix for path in Path(folder).iterdir()] if epochs else None
    n_epochs = 0
    original = KeepFinishedEpoch.on_epoch_end

    def counting(rule, net, **kwargs):
        nonlocal n_epochs
        n_epochs += 1
        original(rule, net, **kwargs)

    KeepFinishedEpoch.on_epoch_end = counting
    model = estimator("binary", parameters).fit(X[rows], y[rows])
    KeepFinishedEpoch.on_epoch_end = original
    return model.set_params(process_group=None, checkpoint_dir=None), n_epochs, left


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(
            {"dropout": 0.4, "input_dropout": 0.1, "early_stopping": True}, marks=pytest.mark.long
        ),
        pytest.param(
            {"normalization": "batch", "solver": "sgd", "learning_rate": "adaptive"},
            marks=pytest.mark.long,
        ),
        {"n_members": 3, "dropout": 0.3, "normalization": "batch"},
    ],
    ids=str,
)
def test_training_that_was_cut_off_goes_on_bit_by_bit(pair, tmp_path, parameters):
    (whole, *_), _ = pair.run(cut_off, parameters, None, [])
    for model, n_epochs, left in pair.run(cut_off, parameters, str(tmp_path), [3, 5]):
        assert_bit_equal(model, whole)
        assert n_epochs == 6 - 4
        assert left == [".npz"]
    assert not list(tmp_path.iterdir())
    assert not tmp_path.with_name(tmp_path.name + "1").exists()


def fit_as_task(rank, folder):
    """Fit as a task of joblib in one of the processes; return the model and the epochs run."""
    X, y, _ = data("binary")
    rows = slice(75 * rank, 75 * (rank + 1))
    parameters = {"max_iter": 6, "dropout": 0.4, "process_group": "world", "checkpoint_dir": folder}
    n_epochs = 0
    original = KeepFinishedEpoch.on_epoch_end

    def counting(rule, net, **kwargs):
        nonlocal n_epochs
        n_epochs += 1
        original(rule, net, **kwargs)

    KeepFinishedEpoch.on_epoch_end = counting
    fit = estimator("binary", parameters).fit
    model = Parallel()([delayed(fit)(X[rows], y[rows])])[0] if rank else fit(X[rows], y[rows])
    KeepFinishedEpoch.on_epoch_end = original
    return model.set_params(process_group=None, checkpoint_dir=None), n_epochs


def test_training_that_is_finished_in_a_larger_run_is_taken_from_its_file(pair, tmp_path):
    first, second = pair.run(fit_as_task, str(tmp_path)), pair.run(fit_as_task, str(tmp_path))
    assert [n_epochs for _, n_epochs in (*first, *second)] == [6, 6, 0, 0]
    for model, _ in (*first, *second):
        assert_bit_equal(model, first[0][0])
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_that_are_spread_otherwise_are_another_training(pair, tmp_path):
    for sizes in ((75, 75), (50, 100)):
        pair.run(cut_short, str(tmp_path), sizes)
    assert len(list(tmp_path.iterdir())) == 2


def cut_short(rank, folder, sizes):
    X, y, _ = data("binary")
    rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    parameters = {"checkpoint_every": 2, "process_group": "world", "checkpoint_dir": folder}
    with cut_after(3):
        estimator("binary", parameters).fit(X[rows], y[rows])


ROOT = str(Path(sknn.__file__).resolve().parents[1])
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def ended(*commands, **environment):
    """Run commands at the same time, assert that all end well, and return their outputs."""
    options = {"env": {**os.environ, "PYTHONPATH": ROOT, **environment}, "text": True}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, **options) for command in commands]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return "".join(output for output, _ in outputs)


def trained_on_digits(rank, folder=None):
    """Return the weights and losses that process `rank` of two learns from every second row."""
    X, y = load_digits(return_X_y=True)
    model = FeedForwardClassifier(
        hidden_layer_sizes=20,
        max_iter=12,
        dropout=0.2,
        random_state=0,
        process_group="world",
        verbose=rank == 0,
        checkpoint_dir=folder,
        checkpoint_every=3,
    ).fit(X[rank::2] / 16, y[rank::2])
    return [*model.coefs_, *model.intercepts_, np.array(model.loss_curve_)]


SCRIPT = f"""
import os, signal, sys, warnings
import numpy as np
from sklearn.datasets import load_digits
from sknn import FeedForwardClassifier
from sknn._training._stopping import KeepFinishedEpoch

{inspect.getsource(trained_on_digits)}
warnings.simplefilter("ignore")
out, folder = sys.argv[1:]
rank = int(os.environ["RANK"])
original = KeepFinishedEpoch.on_epoch_end

def kill(rule, net, **kwargs):
    if len(net.history) == 8 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    original(rule, net, **kwargs)

if rank == 1:
    KeepFinishedEpoch.on_epoch_end = kill
np.savez(f"{{out}}/{{rank}}.npz", *trained_on_digits(rank, folder))
"""


@pytest.mark.long
def test_torchrun_starts_again_what_was_killed_and_training_goes_on(pair, tmp_path):
    script, checkpoints = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(SCRIPT)
    # Two agents run as they would on two machines.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"--rdzv-endpoint=127.0.0.1:{free.getsockname()[1]}"
    options = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=1", "--rdzv-backend=c10d"]
    agent = [*TORCHRUN, *options, endpoint, script, tmp_path, checkpoints]
    lines = ended(agent, agent, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    assert "Continuing after iteration 6" in lines
    assert not list(checkpoints.iterdir())
    whole, _ = pair.run(trained_on_digits)
    for rank in (0, 1):
        with np.load(tmp_path / f"{rank}.npz") as file:
            for name, expected in zip(file.files, whole, strict=True):
                np.testing.assert_array_equal(file[name], expected)


@pytest.mark.long
def test_example_by_itself_starts_two_processes_and_compares_them_with_one(tmp_path):
    lines = ended([sys.executable, EXAMPLE, "--checkpoint-dir", tmp_path]).splitlines()
    assert "Process 0 of 2: 449 samples" in lines and "Process 1 of 2: 1348 samples" in lines
    assert "Epochs: 30 together, 30 in one process" in lines
    (difference,) = (line.split()[-1] for line in lines if "Largest difference" in line)
    assert float(difference) < 1e-6
    assert not list(tmp_path.iterdir())
