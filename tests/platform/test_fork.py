"""A forked process works, on one thread if its parent had imported torch, and does not hang."""

from __future__ import annotations

import os
import sys

import programs
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")

# With this limit, torch shares the work of small networks among its threads as for large ones.
WORK = """
import pickle
import torch, sknn, sknn._platform._threads
from sknn import FeedForwardClassifier
sknn._platform._threads.PARALLEL_FROM = 1.0
torch.set_num_threads(3)
rng = np.random.RandomState(0)
X, y = rng.randn(400, 200), rng.randint(0, 3, 400)
many = np.tile(X, (20, 1))

def classifier(**parameters):
    parameters = {"hidden_layer_sizes": (300, 300), "max_iter": 2, "random_state": 0, **parameters}
    return FeedForwardClassifier(**parameters)

def fit(): return classifier().fit(X, y).coefs_[0]
def partial_fit(): return classifier().partial_fit(X, y, classes=[0, 1, 2]).coefs_[0]
def lbfgs(): return classifier(solver="lbfgs").fit(X, y).coefs_[0]
def module(): return classifier(activation=torch.nn.ReLU).fit(X, y).coefs_[0]
def optimizer(): return classifier(solver=torch.optim.NAdam).fit(X, y).coefs_[0]
def early_stopping(): return classifier(early_stopping=True, dropout=0.1).fit(X, y).coefs_[0]
def predict(): return fitted.predict_proba(X)
def predict_many(): return fitted.predict_proba(many)
def net(): return fitted.net_.module_.linear0.weight.detach().numpy().copy()
def tensor(): return (torch.ones(10**6) + 1).numpy()

def in_child(function):
    # Return the result of a forked process, or None if it has none after half a minute.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            data = pickle.dumps(function())
            with os.fdopen(writing, "wb") as file:
                file.write(data)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            code = 1
        finally:
            os._exit(code)
    os.close(writing)
    killer = threading.Timer(30, os.kill, (child, 9))
    killer.start()
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    _, status = os.waitpid(child, 0)
    killer.cancel()
    return None if status else pickle.loads(data)
"""

CHILDREN = """
fitted = classifier().fit(X, y)
parent, *children = sys.argv[1:]
globals()[parent]()
n_threads = torch.get_num_threads()
for name in children:
    result, expected = in_child(globals()[name]), globals()[name]()
    ended = result is not None
    print(name, ended and np.allclose(result, expected, rtol=1e-6, atol=1e-9), flush=True)
assert torch.get_num_threads() == n_threads == 3
"""
IN_CHILDREN = (
    *("fit", "partial_fit", "lbfgs", "module", "optimizer", "early_stopping"),
    *("predict", "predict_many", "net"),
)


@pytest.mark.long
def test_child_of_a_parent_that_has_used_torchs_threads_works():
    lines = programs.run(WORK + CHILDREN, "module", *IN_CHILDREN)
    assert lines == [f"{name} True" for name in IN_CHILDREN]


@pytest.mark.long
def test_child_fits_and_predicts_what_its_parent_does():
    assert programs.run(WORK + CHILDREN, "tensor", "fit", "predict") == ["fit True", "predict True"]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="for GNU's OpenMP")
def test_torch_itself_hangs_in_a_forked_child():
    # This is the reason for `_fork`. If this test fails, torch or OpenMP has fixed the problem.
    program = WORK.replace("Timer(30", "Timer(5") + "tensor(); print(in_child(tensor))"
    assert programs.run(program) == ["None"]


@pytest.mark.long
def test_child_works_on_one_of_torchs_threads_and_puts_the_number_back():
    program = """
from sknn._network._steps import ClosedFormStep
seen, step = [], ClosedFormStep.__call__

def recorded(*arguments):
    seen.append(torch.get_num_threads())
    return step(*arguments)

ClosedFormStep.__call__ = recorded

def counts():
    seen.clear()
    fit()
    return [*sorted(set(seen)), torch.get_num_threads()]

print(counts(), in_child(counts))
"""
    assert programs.run(WORK + program) == ["[3, 3] [1, 3]"]


@pytest.mark.long
def test_child_of_a_parent_without_torch_keeps_the_threads():
    program = """
import sknn
assert "torch" not in sys.modules
child = os.fork()
if child == 0:
    import torch
    from sknn._platform._threads import PARALLEL_FROM, threads_for
    torch.set_num_threads(3)
    with threads_for(PARALLEL_FROM):
        os._exit(torch.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert programs.run(program) == ["3"]


@pytest.mark.long
def test_fork_while_other_threads_hold_locks_and_limits():
    program = """
from sknn._platform import _compat
from sknn._platform._threads import _blas, one_blas_thread, threads_for
held, leave = threading.Barrier(4), threading.Event()

def holding(context):
    with context:
        held.wait(30)
        leave.wait(60)

before = [library.num_threads for library in _blas()]
contexts = sknn._platform._threads._lock, _compat.borrowed_generator(), threads_for(0.0)
with one_blas_thread():  # The limit of this thread applies in the child too.
    inside = [library.num_threads for library in _blas()]
    threads = [threading.Thread(target=holding, args=[c]) for c in contexts[1:]]
    threads.append(threading.Thread(target=holding, args=[contexts[0]]))
    for thread in threads[:2]:
        thread.start()
    time.sleep(0.5)
    threads[2].start()
    held.wait(30)

    def state():
        module()
        limits = len(sknn._platform._threads._torch_limits)
        return [limits, *(library.num_threads for library in _blas())]

    now = in_child(state)
    leave.set()
for thread in threads:
    thread.join()
print(now == [0, *inside], [library.num_threads for library in _blas()] == before)
"""
    assert programs.run(WORK + program) == ["True True"]


@pytest.mark.long
def test_child_gets_the_blas_threads_back_that_another_thread_has_taken():
    program = """
from sknn._platform._threads import _blas, _set_blas_threads, one_blas_thread
_set_blas_threads([2] * len(_blas()))
held, leave = threading.Event(), threading.Event()

def hold():
    with one_blas_thread():
        held.set()
        leave.wait(60)

thread = threading.Thread(target=hold)
thread.start()
held.wait(30)
assert {library.num_threads for library in _blas()} == {1}

from sknn._platform import _threads

def state():
    return [len(_threads._blas_limits), *{library.num_threads for library in _blas()}]

print(in_child(state))
leave.set()
thread.join()
"""
    assert programs.run(WORK + program) == ["[0, 2]"]


POOL = """
import multiprocessing

def work(seed):
    return fit_here(seed)

if __name__ == "__main__":
    method = sys.argv[1]
    expected = [fit_here(seed) for seed in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map_async(fit_here, range(4)).get(240)
    print(all(np.allclose(*pair, rtol=1e-6) for pair in zip(results, expected)))
"""


@pytest.mark.long
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_pool_of_forked_processes_ends(method, tmp_path):
    path = tmp_path / "pooled.py"
    here = "\ndef fit_here(seed): return classifier(random_state=seed).fit(X, y).coefs_[0]\n"
    path.write_text(programs.PREAMBLE + WORK + here)
    # The functions are in a module, because processes that are not forked have to import them.
    program = "from pooled import fit_here\n" + POOL
    search_path = os.pathsep.join([str(tmp_path), os.getcwd()])
    assert programs.run(program, method, PYTHONPATH=search_path) == ["True"]
