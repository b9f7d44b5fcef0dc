"""Searches with joblib's Dask backend give the same results and send few bytes.

They run on a real cluster of two worker processes, which takes many seconds to start. The quick
tests have a worker in a thread of this process instead.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import re
import runpy
import signal
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import TARGETS, assert_bit_equal, torch_threads
from distributed import Client, Future, LocalCluster
from distributed.comm.tcp import TCP
from numpy.testing import assert_array_equal
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info, threadpool_limits

from sknn import FeedForwardClassifier, FeedForwardRegressor
from sknn._platform._threads import PARALLEL_FROM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WIDE = np.random.RandomState(0).randn(2000, 500)  # these rows are larger than any message
LABELS = (WIDE[:, :3].sum(1) > 0).astype(int)


@contextmanager
def cluster(n_workers, n_threads, *, processes=True, **variables):
    """Yield a client of a new cluster whose workers have these environment variables."""
    # Dask also sets the number of threads of its workers in the environment of this process.
    with (
        mock.patch.dict(os.environ, variables),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            processes=processes,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        # Without this, Dask deletes copies of scattered data while no worker is using them.
        client.amm.stop()
        yield client


@pytest.fixture(scope="module")
def one_cluster():
    with cluster(2, 1) as client:
        yield client


def n_tasks(client):
    """Return the number of results and scattered data that the scheduler and the workers hold."""
    workers = client.run(lambda dask_worker: len(dask_worker.state.tasks))
    return sum(workers.values()) + client.run_on_scheduler(
        lambda dask_scheduler: len(dask_scheduler.tasks)
    )


@pytest.fixture
def client(one_cluster):
    """Return a client whose cluster has released the data of the test before.

    Dask names scattered data by their content. If the same data are scattered again while they are
    being released, it can lose them: "lost dependencies".
    """
    gc.collect()
    for i in range(100):
        if not n_tasks(one_cluster):
            break
        if i == 20:  # A failed search leaves some tasks behind.
            left = [Future(key, one_cluster) for key in list(one_cluster.futures)]
            one_cluster.cancel(left, force=True)
        time.sleep(0.02)
    return one_cluster


@pytest.fixture
def one_thread():
    """Use one thread, as a worker does, so that results are equal to the last bit."""
    with torch_threads(1), threadpool_limits(1):
        yield


def network(target, **parameters):
    kind = FeedForwardRegressor if target == "one output" else FeedForwardClassifier
    return kind(**{"hidden_layer_sizes": (10,), "max_iter": 5, "random_state": 0} | parameters)


# --- the same results -------------------------------------------------------------------------


def grid_search(target):
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(5,), (10, 5)]}
    return GridSearchCV(network(target), grid, cv=3)


def halving_search(target):
    grid = {"alpha": loguniform(1e-5, 1), "learning_rate_init": loguniform(1e-3, 1e-1)}
    return HalvingRandomSearchCV(network(target), grid, cv=3, min_resources=40, random_state=0)


@pytest.mark.long
@pytest.mark.parametrize("target", ["multiclass", "one output"])
@pytest.mark.parametrize("make_search", [grid_search, halving_search])
def test_search_equals_one_without_dask(make_search, target, client, one_thread):
    X, y = TARGETS[target]
    there, here = make_search(target), make_search(target).fit(X, y)
    with joblib.parallel_config("dask", scatter=[X, y]):
        there.fit(X, y)
    assert set(there.cv_results_) == set(here.cv_results_)
    for name, expected in here.cv_results_.items():
        if not name.endswith("_time"):
            assert_array_equal(there.cv_results_[name], expected, err_msg=name)
    assert there.best_params_ == here.best_params_
    assert_bit_equal(there.best_estimator_, here.best_estimator_)


def assert_fits_in_workers_are_bit_equal(target, **parameters):
    X, y = TARGETS[target]
    kind = FeedForwardRegressor if target == "two outputs" else FeedForwardClassifier
    model = kind(hidden_layer_sizes=(10,), max_iter=5, random_state=0, **parameters)
    fits = [clone(model).fit(X[rows], y[rows]) for rows in (slice(0, 100), slice(50, 150))]
    with joblib.parallel_config("dask", scatter=[X, y]):
        folds = [(np.arange(0, 100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
        models = cross_validate(model, X, y, cv=folds, return_estimator=True)["estimator"]
    for there, here in zip(models, fits, strict=True):
        assert_bit_equal(there, here)


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("binary", {}),
        ("multilabel", {"early_stopping": True, "dropout": 0.2}),
        ("two outputs", {"solver": "lbfgs"}),
        ("binary", {"normalization": "layer"}),
        ("two outputs", {"n_members": 3}),
    ],
    ids=str,
)
def test_models_fitted_in_workers_are_bit_equal(target, parameters, client, one_thread):
    assert_fits_in_workers_are_bit_equal(target, **parameters)


def test_models_fitted_in_a_thread_of_dask_are_bit_equal(one_thread):
    with cluster(1, 1, processes=False):
        assert_fits_in_workers_are_bit_equal("multilabel", early_stopping=True, dropout=0.2)


@pytest.mark.long
def test_scores_of_a_pipeline_equal_those_without_dask(client, one_thread):
    X, y = TARGETS["one output"]
    model = make_pipeline(StandardScaler(), network("one output"))
    with joblib.parallel_config("dask", scatter=[X, y]):
        there = cross_val_score(model, X, y)
    assert_array_equal(there, cross_val_score(model, X, y))


@pytest.mark.long
def test_loss_of_your_own_travels_with_the_fits(client, one_thread):
    X, y = TARGETS["one output"]
    model = network("one output", loss=lambda raw, y: (raw - y).abs().sum(1))
    with joblib.parallel_config("dask", scatter=[X, y]):
        there = cross_val_score(model, X, y)
    assert_array_equal(there, cross_val_score(model, X, y))


@pytest.mark.long
def test_search_run_again_takes_finished_fits_from_their_files(client, tmp_path):
    X, y = TARGETS["multiclass"]
    search = GridSearchCV(network("multiclass"), {"alpha": [0.1, 1]}, cv=2, refit=False)
    search.set_params(estimator__checkpoint_dir=tmp_path)
    found = []
    for _ in range(2):
        with joblib.parallel_config("dask", scatter=[X, y]):
            search.fit(X, y)
        files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        found.append((files, search.cv_results_["mean_test_score"].tolist()))
    assert len(found[0][0]) == 2 * 2
    assert found[0] == found[1]  # nothing was trained, and so nothing saved


# --- where the work is done -------------------------------------------------------------------


class Meeting:
    """A scorer that returns its process's number once it is called in a second process too."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, estimator, X, y):
        (self.folder / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        return os.getpid()


@pytest.mark.long
def test_best_estimator_is_fitted_in_this_process(client):
    model = network("multiclass", callbacks=[Threads])
    with joblib.parallel_config("dask"):
        search = GridSearchCV(model, {"alpha": [0.1]}).fit(*TARGETS["multiclass"])
    assert search.best_estimator_.callbacks_[0][1].pid == os.getpid()


@pytest.mark.long
def test_fits_of_a_search_run_in_both_workers_at_once(client, tmp_path):
    X, y = TARGETS["multiclass"]
    search = GridSearchCV(
        network("multiclass"), {"alpha": [0.1, 1, 2, 3]}, cv=2, scoring=Meeting(tmp_path)
    )
    with joblib.parallel_config("dask", scatter=[X, y]):
        search.fit(X, y)
    pids = {search.cv_results_[f"split{fold}_test_score"][i] for fold in (0, 1) for i in range(4)}
    assert pids == set(client.run(os.getpid).values())
    assert os.getpid() not in pids


# --- rows are sent once -----------------------------------------------------------------------


@pytest.fixture
def bytes_sent(monkeypatch):
    """Return a function that counts the bytes sent by this process since its last call.

    The client and the scheduler both are in this process.
    """
    sent = []
    write = TCP.write

    async def counted(self, *args, **kwargs):
        sent.append(await write(self, *args, **kwargs))
        return sent[-1]

    monkeypatch.setattr(TCP, "write", counted)

    def since():
        total = sum(sent)
        sent.clear()
        return total

    return since


def bytes_between_workers(client):
    """Return how many bytes the workers have sent to each other."""
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


def two_searches():
    grid_search("binary").set_params(refit=False).fit(WIDE, LABELS)
    search = halving_search("binary").set_params(min_resources=200, refit=False)
    assert search.fit(WIDE, LABELS).n_iterations_ == 3


@pytest.mark.long
def test_scattered_rows_are_sent_once_to_each_worker(client, bytes_sent):
    with joblib.parallel_config("dask", scatter=[WIDE, LABELS]):
        assert 2 * WIDE.nbytes < bytes_sent() < 2.5 * WIDE.nbytes
        between = bytes_between_workers(client)
        two_searches()
        # Four calls of Parallel with 45 fits send little more than the row numbers of the folds.
        assert bytes_sent() < 0.5 * WIDE.nbytes
        assert bytes_between_workers(client) - between < 0.5 * WIDE.nbytes


@pytest.mark.long
def test_rows_that_are_not_scattered_are_sent_with_each_step_of_a_search(client, bytes_sent):
    with joblib.parallel_config("dask"):
        two_searches()
    assert bytes_sent() > 4 * WIDE.nbytes


@pytest.mark.long
@pytest.mark.parametrize("container", [pd.DataFrame, scipy.sparse.csr_matrix])
def test_scattered_frame_or_sparse_matrix_is_not_sent_again(container, client, bytes_sent):
    rows = container(WIDE)
    with joblib.parallel_config("dask", scatter=[rows, LABELS]):
        assert bytes_sent() > 2 * WIDE.nbytes
        cross_val_score(network("binary"), rows, LABELS)
        assert bytes_sent() < 0.5 * WIDE.nbytes


# --- threads ----------------------------------------------------------------------------------


def threads():
    """Return torch's number of threads in this process, and that of the BLAS libraries."""
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return torch.get_num_threads(), max(blas)


class Threads(Callback):
    """A callback that records the process and the number of threads in each training step."""

    def on_train_begin(self, net, **kwargs):
        self.seen, self.pid = set(), os.getpid()

    def on_batch_end(self, net, **kwargs):
        self.seen.add(threads())


def most_threads_in_fits(model):
    """Return the largest numbers of threads, of torch and of BLAS, in any step on a cluster."""
    with joblib.parallel_config("dask", scatter=[WIDE, LABELS]):
        model = clone(model).set_params(callbacks=[Threads])
        models = cross_validate(model, WIDE, LABELS, cv=4, return_estimator=True)["estimator"]
    seen = [n for m in models for n in m.callbacks_[0][1].seen]
    return max(n_torch for n_torch, _ in seen), max(n_blas for _, n_blas in seen)


SMALL = FeedForwardClassifier((10,), max_iter=2, random_state=0)
LARGE = FeedForwardClassifier((300,), batch_size=500, max_iter=2, random_state=0)
assert 6 * 500 * 500 * 300 > PARALLEL_FROM  # the steps of LARGE are worth two threads


@pytest.mark.long
@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_fit_in_a_worker_has_the_one_thread_that_dask_gives(model, client):
    assert client.submit(threads, pure=False).result() == (1, 1)
    assert most_threads_in_fits(model) == (1, 1)
    assert client.submit(threads, pure=False).result() == (1, 1)


@pytest.mark.long
def test_two_fits_at_once_in_one_worker_have_one_thread_each(one_thread):
    with cluster(1, 2) as client:
        assert client.submit(threads).result() == (1, 1)
        for model in (SMALL, LARGE):
            assert most_threads_in_fits(model) == (1, 1)
        X, y = TARGETS["multiclass"]
        with joblib.parallel_config("dask", scatter=[X, y]):
            there = grid_search("multiclass").fit(X, y)
    here = grid_search("multiclass").fit(X, y)
    assert_array_equal(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])


@pytest.mark.long
def test_threads_that_the_environment_gives_to_a_worker_are_used_and_kept():
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    with cluster(1, 1, **variables) as client:
        assert client.submit(threads, pure=False).result() == (2, 2)
        assert most_threads_in_fits(SMALL) == (1, 1)
        assert max(most_threads_in_fits(LARGE)) == 2
        assert client.submit(threads, pure=False).result() == (2, 2)


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"alpha": -1.0}, "'alpha' parameter"), ({"device": "cuda:99"}, "cuda:99")],
    ids=str,
)
def test_error_in_a_worker_is_the_usual_one(parameters, message, client):
    X, y = TARGETS["multiclass"]
    errors = []
    for backend in ("sequential", "dask"):
        model = network("multiclass", **parameters)
        with joblib.parallel_config(backend), pytest.raises(ValueError, match=message) as caught:
            cross_val_score(model, X, y, error_score="raise")
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


class Killer:
    """A scorer that ends the process of its first call without an error."""

    def __init__(self, flag):
        self.flag = flag

    def __call__(self, estimator, X, y):
        try:
            self.flag.touch(exist_ok=False)
        except FileExistsError:
            return estimator.score(X, y)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.long
def test_search_survives_a_killed_worker_if_the_folds_are_scattered_too(tmp_path, one_thread):
    # joblib sends an object of more than a kilobyte to one worker only. It is lost with the worker.
    folds = list(StratifiedKFold(3).split(WIDE, LABELS))
    assert folds[0][1].nbytes > 1000
    search = grid_search("binary").set_params(cv=folds)
    expected = clone(search).fit(WIDE, LABELS).cv_results_["mean_test_score"]
    search.set_params(scoring=Killer(tmp_path / "flag"))
    with cluster(2, 1) as client:
        pids = client.run(os.getpid).values()
        scatter = [WIDE, LABELS, *itertools.chain(*folds)]
        with joblib.parallel_config("dask", scatter=scatter):
            search.fit(WIDE, LABELS)
        client.wait_for_workers(2)
        assert len(set(pids) & set(client.run(os.getpid).values())) == 1
    assert_array_equal(search.cv_results_["mean_test_score"], expected)


# --- the example ------------------------------------------------------------------------------

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "search_on_cluster.py"


@pytest.mark.long
def test_example_finds_the_same_on_the_cluster_of_a_scheduler(client, capsys, one_thread):
    address = client.scheduler.address
    with warnings.catch_warnings():  # the example sets a filter of its own
        runpy.run_path(str(EXAMPLE))["main"](["--scheduler", address, "--epochs", "3"])
    out = capsys.readouterr().out
    assert "2 workers, 2 parallel fits" in out
    here, there = (re.search(rf"best, {place} +(.*)", out)[1] for place in ("local", "cluster"))
    assert here == there
    assert re.search(r"largest difference in scores +(\S+)", out)[1] == "0"


@pytest.mark.long
def test_example_makes_a_cluster_of_its_own(capsys):
    with mock.patch.dict(os.environ), warnings.catch_warnings():
        runpy.run_path(str(EXAMPLE))["main"](["--epochs", "1"])
    assert "2 workers, 2 parallel fits" in capsys.readouterr().out


@pytest.mark.long
def test_example_without_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="pip install distributed"):
        runpy.run_path(str(EXAMPLE))
