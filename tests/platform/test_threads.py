"""Small work runs on one thread, and the number of threads is restored, also if calls overlap."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import TARGETS
from threadpoolctl import threadpool_info, threadpool_limits

from sknn import FeedForwardClassifier
from sknn._network import _inference
from sknn._network._matrix_products import NumPyProducts
from sknn._network._steps import ClosedFormStep
from sknn._platform import _threads
from sknn._platform._threads import PARALLEL_FROM, one_blas_thread, threads_for


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def free_blas_threads():
    """Set two BLAS threads, without a Python thread that controls them in threadpoolctl."""
    before = [library.num_threads for library in _threads._blas()]
    _threads._set_blas_threads([2] * len(before))
    if blas_threads() != {2}:
        pytest.skip("NumPy's BLAS has no two threads")
    yield
    _threads._set_blas_threads(before)


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("NumPy's BLAS has no two threads")
        yield


def test_small_work_runs_on_one_thread(two_threads):
    with threads_for(1.0):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_large_work_keeps_the_threads(two_threads):
    with threads_for(PARALLEL_FROM):
        assert torch.get_num_threads() == 2


def test_number_is_put_back_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(1.0):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_nested_calls_put_the_outer_number_back(two_threads):
    with threads_for(1.0):
        with threads_for(1.0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_overlapping_calls_in_two_threads_put_the_number_back_in_both(two_threads):
    seen = {}
    inside, leave = threading.Event(), threading.Event()

    def other():
        with threads_for(1.0):
            seen["inside"] = torch.get_num_threads()
            inside.set()
            leave.wait(10)
        seen["after"] = torch.get_num_threads()

    thread = threading.Thread(target=other)
    with threads_for(1.0):
        thread.start()
        assert inside.wait(10)
    # This call has ended; the other one has not.
    leave.set()
    thread.join()
    assert seen == {"inside": 1, "after": 2}
    assert torch.get_num_threads() == 2
    fresh = threading.Thread(target=lambda: seen.update(fresh=torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert seen["fresh"] == 2


def test_each_thread_gets_its_own_number_back(two_threads):
    seen = {}
    inside, leave = threading.Event(), threading.Event()

    def other():
        torch.set_num_threads(1)
        with threads_for(1.0):
            inside.set()
            leave.wait(10)
        seen["other"] = torch.get_num_threads()

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with threads_for(1.0):
        pass
    seen["this"] = torch.get_num_threads()
    leave.set()
    thread.join()
    assert seen == {"this": 2, "other": 1}


def test_blas_gets_its_threads_back_when_the_last_call_that_limits_it_ends(two_blas_threads):
    inside, leave, seen = threading.Event(), threading.Event(), {}

    def other():
        with one_blas_thread():
            seen["inside"] = blas_threads()
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        with one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
        thread.start()
        assert inside.wait(10)
    assert blas_threads() == {1}  # The other thread's limit still applies.
    with one_blas_thread():
        assert blas_threads() == {1}
        leave.set()
        thread.join()
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    assert seen == {"inside": {1}}


def test_blas_is_limited_in_a_thread_after_a_call_in_another_that_lives_on(free_blas_threads):
    # threadpoolctl obeys only the first thread that sets a number, until that gives up control.
    with ThreadPoolExecutor(2) as pool:
        together = threading.Barrier(2)

        def limited():
            together.wait(10)  # Both threads wait here for each other.
            with one_blas_thread():
                return blas_threads()

        for _ in range(3):
            assert [f.result() for f in [pool.submit(limited), pool.submit(limited)]] == [{1}, {1}]
    assert blas_threads() == {2}


def test_blas_is_left_to_other_threads_after_a_call(two_blas_threads):
    done, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            pass
        done.set()
        leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert done.wait(10)
    with threadpool_limits(1, user_api="blas"):
        assert blas_threads() == {1}
    leave.set()
    thread.join()
    assert blas_threads() == {2}


def test_blas_that_others_have_limited_is_left_alone():
    with threadpool_limits(2, user_api="blas"):
        outer = threadpool_limits(1, user_api="blas")
        body = one_blas_thread()
        body.__enter__()
        outer.restore_original_limits()
        before = blas_threads()
        body.__exit__(None, None, None)
        assert blas_threads() == before


@pytest.mark.parametrize("n_torch, expected", [(1, {1}), (2, {2}), (3, {1})])
def test_blas_shares_large_products_on_two_of_torchs_threads_only(
    n_torch, expected, two_blas_threads, two_threads
):
    torch.set_num_threads(n_torch)
    with NumPyProducts.threads(PARALLEL_FROM):
        assert blas_threads() == expected


def test_blas_gets_its_threads_back_after_an_error(two_blas_threads):
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert blas_threads() == {2}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("shares_from, expected", [(PARALLEL_FROM, {1}), (1.0, {2})])
def test_blas_of_a_small_fit_has_one_thread_and_that_of_a_large_one_all(
    shares_from, expected, two_blas_threads, two_threads, monkeypatch
):
    seen = []
    step = ClosedFormStep.__call__

    def recorded(*args):
        seen.append((blas_threads(), torch.get_num_threads()))
        return step(*args)

    monkeypatch.setattr(_threads, "PARALLEL_FROM", shares_from)
    monkeypatch.setattr(ClosedFormStep, "__call__", recorded)
    FeedForwardClassifier(max_iter=2).fit(*TARGETS["multiclass"])
    assert seen == [(expected, 1)] * 2
    assert blas_threads() == {2}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_small_network_fits_and_predicts_on_one_thread(early_stopping, two_threads, monkeypatch):
    seen = []
    step, forward = ClosedFormStep.__call__, _inference.Layers.__call__

    def recording(function):
        def recorded(*args):
            seen.append(torch.get_num_threads())
            return function(*args)

        return recorded

    monkeypatch.setattr(ClosedFormStep, "__call__", recording(step))
    monkeypatch.setattr(_inference.Layers, "__call__", recording(forward))
    relu = _inference.ACTIVATIONS["relu"]  # few rows do not get into `Layers`
    monkeypatch.setitem(
        _inference.ACTIVATIONS, "relu", relu._replace(apply_=recording(relu.apply_))
    )
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=3, early_stopping=early_stopping).fit(X, y)
    numbers = [len(seen)]
    for rows in (X[:1], X, np.tile(X, (4, 1))):
        estimator.predict(rows)
        numbers.append(len(seen))
    assert 0 < numbers[0] < numbers[1] < numbers[2] < numbers[3]
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
