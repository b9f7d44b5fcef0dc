"""Small work on one thread, for the time of one call, also where calls overlap."""

from __future__ import annotations

import threading

import pytest
import torch
from conftest import TARGETS

from sknn import FeedForwardClassifier, _inference
from sknn._steps import ClosedFormStep
from sknn._threads import PARALLEL_FROM, threads_for


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
    # This call has ended, the other one not.
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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_small_network_is_fitted_and_asked_on_one_thread(early_stopping, two_threads, monkeypatch):
    seen = []
    step, forward = ClosedFormStep.__call__, _inference._forward

    def recording(function):
        def recorded(*args):
            seen.append(torch.get_num_threads())
            return function(*args)

        return recorded

    monkeypatch.setattr(ClosedFormStep, "__call__", recording(step))
    monkeypatch.setattr(_inference, "_forward", recording(forward))
    X, y = TARGETS["multiclass"]
    estimator = FeedForwardClassifier(max_iter=3, early_stopping=early_stopping).fit(X, y)
    n_in_fit = len(seen)
    estimator.predict(X)
    assert 0 < n_in_fit < len(seen)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
