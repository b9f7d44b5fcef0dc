"""The promises of SECURITY.md hold.

The package runs no code from files, uses no network, starts no process, and writes no file unless
asked to.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# --- what the source says ---------------------------------------------------------------------

NO_BUILTINS = {"__import__", "compile", "eval", "exec"}
NO_MODULES = {
    *("cPickle", "cloudpickle", "code", "ctypes", "dill", "ftplib", "http", "imp", "marshal"),
    *("multiprocessing", "pickle", "pty", "requests", "runpy", "shelve", "smtplib", "socket"),
    *("subprocess", "urllib", "urllib3", "webbrowser", "xmlrpc"),
}
NO_FUNCTIONS = {
    *("joblib.load", "os.popen", "os.putenv", "os.startfile", "os.system", "os.unsetenv"),
    *("torch.hub", "torch.jit.load", "torch.package", "torch.utils.cpp_extension"),
    *("importlib.import_module", "yaml.load", "yaml.load_all", "yaml.unsafe_load"),
}
NO_PREFIXES = ("os.exec", "os.spawn", "os.posix_spawn")
# NumPy's readers take `allow_pickle` as a positional argument after this many others.
ALLOW_PICKLE_AFTER = {"numpy.load": 2, "numpy.lib.format.read_array": 1}
# Uses in examples that the package must not have: they start processes and measure pickles.
OF_EXAMPLES = {
    "examples/benchmarks/__main__.py": {"importlib.import_module", "os.environ"},
    "examples/benchmarks/_fresh.py": {"ctypes", "multiprocessing"},
    "examples/benchmarks/_libtorch.py": {"ctypes", "subprocess"},
    "examples/benchmarks/_team.py": {"multiprocessing"},
    "examples/benchmarks/imports.py": {"subprocess"},
    "examples/benchmarks/memory.py": {"pickle"},
    "examples/choose_device.py": {"pickle"},
    "examples/resume.py": {"subprocess"},
    "examples/train_in_processes.py": {"subprocess"},
}


def violations(source):
    """Return the names of the forbidden things that a module uses."""
    nodes, found, names = list(ast.walk(ast.parse(source))), set(), {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
                found |= {top} & NO_MODULES
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module.split(".")[0]} & NO_MODULES
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def dotted(node):
        if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
            return f"{owner}.{node.attr}"
        return names.get(node.id, node.id) if isinstance(node, ast.Name) else None

    def may_unpickle(name, call):
        """Return whether a use of a function may unpickle.

        A use is safe only if it is a call whose arguments plainly forbid unpickling.
        """
        given = {k.arg: getattr(k.value, "value", None) for k in call.keywords} if call else {None}
        if None in given:  # the call has **options, or the function gets another name
            return True
        if name == "torch.load":
            return given.get("weights_only") is not True
        return (
            len(call.args) > ALLOW_PICKLE_AFTER[name]
            or given.get("allow_pickle", False) is not False
        )

    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        name = dotted(node)
        if name is None:
            continue
        if name in NO_BUILTINS | NO_FUNCTIONS or name.startswith(NO_PREFIXES):
            found.add(name)
        if name == "torch.load" or name in ALLOW_PICKLE_AFTER:
            found |= {name} if may_unpickle(name, calls.get(id(node))) else set()
    for node in nodes:
        # Nothing may change the environment, neither by item nor by a method of dicts.
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found |= {dotted(node.value)} & {"os.environ"}
        if isinstance(node, ast.Attribute) and dotted(node.value) == "os.environ":
            found |= {"os.environ"} if node.attr not in ("get", "items", "copy") else set()
    return found


def sources(*directories):
    return sorted(
        path.relative_to(ROOT).as_posix()
        for directory in directories
        for path in (ROOT / directory).rglob("*.py")
    )


@pytest.mark.parametrize("path", sources("sknn", "examples"))
def test_source_has_nothing_that_runs_what_is_read_or_talks_to_others(path):
    found = violations((ROOT / path).read_text(encoding="utf-8"))
    assert found == OF_EXAMPLES.get(path, set())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("eval('1')", "eval"),
        ("run = exec", "exec"),
        ("compile('1', '', 'eval')", "compile"),
        ("import pickle", "pickle"),
        ("from pickle import loads as read", "pickle"),
        ("def f():\n    import marshal", "marshal"),
        ("import urllib.request as u", "urllib"),
        ("from http.client import HTTPConnection", "http"),
        ("import os\nos.system('ls')", "os.system"),
        ("from os import system\nsystem('ls')", "os.system"),
        ("import os as o\no.execv('ls', [])", "os.execv"),
        ("import os\nos.environ['A'] = '1'", "os.environ"),
        ("import os\ndel os.environ['A']", "os.environ"),
        ("from os import environ\nenviron.update(A='1')", "os.environ"),
        ("import os\nos.environ.setdefault('A', '1')", "os.environ"),
        ("import torch\ntorch.load('f')", "torch.load"),
        ("import torch\ntorch.load('f', weights_only=False)", "torch.load"),
        ("import torch as t\nt.load('f', **options)", "torch.load"),
        ("from torch import load\nload('f')", "torch.load"),
        ("import torch\nread = torch.load", "torch.load"),
        ("import numpy as np\nnp.load('f', allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load('f', allow_pickle=may)", "numpy.load"),
        ("import numpy as np\nnp.load('f', None, True)", "numpy.load"),
        ("import joblib\njoblib.load('f')", "joblib.load"),
        ("import yaml\nyaml.load('f')", "yaml.load"),
    ],
)
def test_planted_violation_is_found(source, found):
    assert violations(source) == {found}


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('a')",
        "import torch\ntorch.compile(model)",
        "import torch\ntorch.load('f', weights_only=True)",
        "import numpy as np\nnp.load('f', allow_pickle=False)\nnp.load('g')",
        "import os\nos.environ.get('A')\nos.environ['A']\n'A' in os.environ",
        "module.eval()",
    ],
)
def test_harmless_source_is_not_found(source):
    assert violations(source) == set()


# --- what the interpreter sees ----------------------------------------------------------------

# Code that makes a process report what it does, from Python's audit events (PEP 578).
WATCH = """
import json, os, sys

NAMED = (
    "ftplib", "http", "os.exec", "os.fork", "os.posix_spawn", "os.putenv", "os.spawn", "os.system",
    "os.unsetenv", "pickle.find_class", "pty", "smtplib", "socket.bind", "socket.connect",
    "socket.getaddrinfo", "socket.sendto", "subprocess", "urllib", "webbrowser",
)
OF_PATHS = (
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.symlink", "os.truncate", "os.utime", "tempfile",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
seen = []

def hook(event, arguments):
    if event.startswith(NAMED):
        seen.append([event, ""])
    elif event.startswith(OF_PATHS):
        seen.append([event, str(arguments[0])])
    elif event == "open" and arguments[2] & WRITING and not isinstance(arguments[0], int):
        seen.append([event, str(arguments[0])])

sys.addaudithook(hook)
before = dict(os.environ)

def report(part):
    found = [list(item) for item in dict.fromkeys(map(tuple, seen))]
    changed = [name for name, _ in before.items() ^ os.environ.items()]
    print("SEEN", json.dumps([part, found, changed]), flush=True)
    seen.clear()
    before.update(os.environ)
"""

LIBRARIES = """
import numpy as np, sklearn.neural_network, threadpoolctl
threadpoolctl.ThreadpoolController()  # below 3.7, the first one runs ldconfig
report("libraries")  # scikit-learn and NumPy set some variables of OpenMP and BLAS
import sknn
report("import")
import warnings
warnings.simplefilter("ignore")
X = np.random.RandomState(0).rand(60, 3)
y = X @ [1.0, -2.0, 0.5]
"""

FITS = """
for solver in ("lbfgs", "sgd", "adam", "adamw"):
    model = sknn.FeedForwardRegressor(
        hidden_layer_sizes=(4,), solver=solver, max_iter=3, random_state=0
    ).fit(X, y)
    model.predict(X)
    report(solver)
model = sknn.FeedForwardClassifier(
    hidden_layer_sizes=(4, 4), early_stopping=True, dropout=0.1, max_iter=3, dtype="float32"
)
model.fit(X, y > 0).predict_proba(X)
model.set_params(early_stopping=False, warm_start=True).fit(X, y > 0)
model.partial_fit(X, y > 0).score(X, y > 0)
report("classifier")
model.set_params(random_state=0, checkpoint_dir=sys.argv[1], checkpoint_every=1).fit(X, y > 0)
report("checkpoints")
"""

FITS_OF_TORCH = """
import torch
model = sknn.FeedForwardClassifier((4,), solver=torch.optim.RMSprop, max_iter=3).fit(X, y > 0)
report("first")
model.fit(X, y > 0).partial_fit(X, y > 0)
report("again")
"""


def seen_in(code, directory, cwd):
    """Run some code in a new process and return what each part of it did.

    The report on a part lists its audited acts and the environment variables that changed.
    """
    (cwd / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(cwd / "temporary")}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)  # set by torch in the tests' process
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH + code, directory],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("SEEN ")]
    return {part: acts for part, *acts in (json.loads(line[5:]) for line in lines)}


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Return the working directory of the fits, and what each of them did."""
    cwd = tmp_path_factory.mktemp("elsewhere")
    return cwd, seen_in(LIBRARIES + FITS, cwd / "checkpoints", cwd)


@pytest.mark.long
@pytest.mark.parametrize("part", ["import", "lbfgs", "sgd", "adam", "adamw", "classifier"])
def test_nothing_is_written_sent_or_started(fits, part):
    assert fits[1][part] == [[], []]


@pytest.mark.long
def test_checkpoints_are_written_to_their_directory_alone(fits):
    cwd, parts = fits
    acts, changed = parts["checkpoints"]
    assert changed == []
    assert {event for event, _ in acts} >= {"open", "os.rename", "os.mkdir"}
    assert all(Path(path).is_relative_to(cwd / "checkpoints") for _, path in acts), acts


@pytest.mark.long
def test_first_optimizer_of_torch_does_what_torchs_compiler_does_at_its_import(tmp_path):
    parts = seen_in(LIBRARIES + FITS_OF_TORCH, tmp_path, tmp_path)
    assert parts["again"] == [[], []]
    acts, changed = parts["first"]
    assert set(changed) <= {"TORCHINDUCTOR_CACHE_DIR"}
    paths = [Path(path) for event, path in acts if event != "os.putenv"]
    assert all(path.is_relative_to(tmp_path / "temporary") for path in paths), acts
    assert {event for event, _ in acts} <= {"open", "os.remove", "os.mkdir", "os.putenv"}
    left = [*(tmp_path / "temporary").rglob("*")]
    assert all(path.is_dir() for path in left), left


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("open(sys.argv[1], 'w')", "open"),
        ("os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)", "open"),
        ("os.mkdir(sys.argv[1])", "os.mkdir"),
        ("os.system('true')", "os.system"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import socket; socket.socket().bind(('127.0.0.1', 0))", "socket.bind"),
        ("import socket; socket.getaddrinfo('127.0.0.1', 0)", "socket.getaddrinfo"),
        ("import pickle; pickle.loads(b'ccollections\\nCounter\\n.')", "pickle.find_class"),
        ("os.environ['SKNN'] = '1'", "os.putenv"),
    ],
)
def test_planted_act_is_seen(code, event, tmp_path):
    acts, changed = seen_in(code + "\nreport('')", tmp_path / "new", tmp_path)[""]
    assert any(name.startswith(event) for name, _ in acts), acts
    assert changed == (["SKNN"] if "environ" in code else [])
