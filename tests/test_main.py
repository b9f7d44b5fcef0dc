"""`python -m sknn` checks the installation, run as a process and called as a function."""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import platform
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch

import sknn
import sknn.__main__
from sknn import FeedForwardClassifier, _environment, _self_check
from sknn.__main__ import _run, _told, main


def report(*arguments):
    """Run Python with some arguments and return its exit code and its lines of output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.fixture(scope="module")
def usual():
    """Return the exit code and the lines of `python -m sknn`, run in this process."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as stopped,
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setattr(sys, "argv", ["sknn"])
        runpy.run_path(sknn.__main__.__file__, run_name="__main__")
    assert err.getvalue() == ""
    return stopped.value.code, out.getvalue().splitlines()


@pytest.mark.long
def test_process_ends_with_ok_and_zero():
    code, lines = report("-m", "sknn")
    assert (code, lines[-1]) == (0, "ok")


def test_report_ends_with_ok_and_zero(usual):
    code, lines = usual
    assert code == 0
    assert lines[-1] == "ok"


def test_report_has_versions_devices_threads_and_checks(usual):
    _, lines = usual
    entries = {tuple(line.split(maxsplit=1)) for line in lines}
    assert {
        ("sknn", sknn.__version__),
        ("torch", torch.__version__),
        ("scikit-learn", sklearn.__version__),
        ("numpy", np.__version__),
        ("OMP_NUM_THREADS", "1"),
    } <= entries
    assert any(
        key == "python" and platform.python_version() in value
        for key, value in (entry for entry in entries if len(entry) == 2)
    )
    assert any(line.startswith("  cpu  float32, float64, bfloat16 (") for line in lines)
    for name in ("digits on cpu: accuracy 0.9", "the same model as scikit-learn's: largest"):
        assert any(line.startswith(f"  {name}") for line in lines)
    assert any(line.startswith("  save and load: ") for line in lines)


def test_report_tells_nothing_of_whose_machine_it_is(usual):
    text = "\n".join(usual[1])
    private = (str(Path.home()), sys.prefix, sys.executable, os.getcwd(), sknn.__file__)
    assert [name for name in private if name in text] == []
    assert not {getpass.getuser(), socket.gethostname()} & set(text.split())


def fit_other(self, X, y):
    FIT(self, X, y).coefs_[0][0] += 1e-3
    return self


def load_other(path):
    model = LOAD(path)
    model.coefs_[0][30] += 1e-3
    return model


def fail(*_):
    raise RuntimeError("no luck in /home/somebody/lib/a.so")


FIT, LOAD = FeedForwardClassifier.fit, sknn.load
# Faults of a broken installation: what is replaced, and what each check then says.
PLANTED = [
    {
        (FeedForwardClassifier, "score", lambda *_: 0.5): (
            "digits on cpu: FAILED: CheckFailed: accuracy 0.500, expected at least 0.9"
        ),
        (FeedForwardClassifier, "fit", fit_other): (
            "the same model as scikit-learn's: FAILED: CheckFailed: largest relative difference"
        ),
        (FeedForwardClassifier, "save", fail): (
            "save and load: FAILED: RuntimeError: no luck in a.so (test_main.py, line "
        ),
    },
    {
        (FeedForwardClassifier, "score", lambda *_: float("nan")): (
            "digits on cpu: FAILED: CheckFailed: accuracy nan"
        ),
        (sknn, "load", load_other): (
            "save and load: FAILED: CheckFailed: the loaded model and the saved model predict"
        ),
    },
]


@pytest.mark.matrix(1)
@pytest.mark.parametrize("planted", PLANTED, ids=["three faults", "two faults"])
def test_planted_failures_are_told_and_end_with_one(planted, monkeypatch, capsys):
    for fault in planted:
        monkeypatch.setattr(*fault)
    monkeypatch.setattr(_self_check, "device_names", lambda: ["cpu"])
    assert main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    for told in planted.values():
        assert any(told in line for line in lines), lines
    failed = [told.partition(":")[0] for told in planted.values()]
    assert lines[-1] == f"failed: {', '.join(failed)}"
    assert any(line.split() == ["sknn", sknn.__version__] for line in lines)


@pytest.mark.long
def test_missing_torch_is_told_and_ends_with_one():
    code, lines = report(
        "-c",
        "import sys, sknn\n"
        "sys.modules['torch'] = None\n"
        "from sknn.__main__ import main\n"
        "sys.exit(main([]))",
    )
    assert code == 1
    assert any("FAILED: ModuleNotFoundError: import of torch halted" in line for line in lines)
    assert lines[-1].startswith("failed: ")
    assert any(line.split() == ["sknn", sknn.__version__] for line in lines)


def test_help_is_printed_and_unknown_arguments_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "python -m sknn" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--everything"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("in '/home/my user/x/lib.so': 3/4, and/or"), "in 'lib.so': 3/4, and/or"),
        (RuntimeError(r"C:\Users\me\a.txt is gone"), "a.txt is gone"),
        (RuntimeError(f"no {os.path.expanduser('~')}"), "no ~"),
        (FileNotFoundError(2, "No such file", "/home/me/a"), "No such file"),
        (OSError("unknown"), "unknown"),
    ],
)
def test_paths_are_left_out_of_what_is_told(error, told):
    assert _told(error) == f"{type(error).__name__}: {told}"


def test_devices_are_told_with_what_they_are(monkeypatch):
    monkeypatch.setattr(_environment, "device_names", lambda: ["cpu", "cuda:1", "mps"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setattr(torch.version, "hip", None)
    found = _environment.devices()
    assert found["cuda:1"] == (
        "card 1, CUDA 12.4; float32, float64, bfloat16 (without a unit: slow)"
    )
    assert found["mps"] == "Apple's GPU; float32, bfloat16 (with a unit)"
    assert "float64" in found["cpu"]


def test_package_that_is_not_there_is_told():
    found = _environment.versions_of(("numpy", "sknn-of-nobody"))
    assert found == {"numpy": np.__version__, "sknn-of-nobody": "not installed"}


def test_checks_are_made_on_every_device(monkeypatch):
    monkeypatch.setattr(_self_check, "device_names", lambda: ["cpu", "cuda:0"])
    assert [name for name in _self_check.checks() if name.startswith("digits")] == [
        *("digits on cpu", "digits on cuda:0"),
    ]


@pytest.mark.long
def test_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "sknn"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "system\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=300) == 1


def test_report_without_an_output_is_made_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr("sknn.__main__.main", lambda: 0)
    assert _run() == 0
