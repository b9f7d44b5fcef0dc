"""Keep processes that wait for work, for the tests of training by several processes."""

from __future__ import annotations

import datetime
import multiprocessing
import traceback
import warnings

import torch
import torch.distributed as dist

# Seconds after which a call to the other processes fails. The long timeout allows for a busy
# machine; the short one is for tests that wait for the failure.
TIMEOUT, SHORT_TIMEOUT = 60, 5
PATIENCE = 120  # Seconds without any answer after which a process is considered to hang.
# A server that has imported these modules forks the processes, so that they start at once.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
IMPORTED = ["conftest", "pandas", "skorch", "torch._dynamo", "sknn._training._train"]


def _serve(rank, size, store, timeout, connection):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(seconds=timeout),
    )
    while (job := connection.recv()) is not None:
        function, args = job
        try:
            connection.send((function(rank, *args), None))
        except BaseException as error:
            connection.send((None, (type(error), str(error), traceback.format_exc())))


class Team:
    """Several processes of one group on this machine.

    `run` calls a function of a test module in all processes, with the rank as the first argument.
    It returns their results, or raises the first error. `outcomes` returns the results of those
    processes that survive, and then starts a new group.
    """

    def __init__(self, size, folder, timeout=TIMEOUT):
        self.size = size
        self._folder = folder
        self._timeout = timeout
        self._n_starts = 0
        self._start()

    def _start(self):
        context = multiprocessing.get_context(METHOD)
        context.set_forkserver_preload(IMPORTED)
        self._n_starts += 1
        self._connections, self.processes = [], []
        for rank in range(self.size):
            here, there = context.Pipe()
            store = self._folder / f"store{self._n_starts}"
            args = (rank, self.size, store, self._timeout, there)
            process = context.Process(target=_serve, args=args, daemon=True)
            process.start()
            there.close()
            self._connections.append(here)
            self.processes.append(process)

    def _call(self, function, args, ranks):
        for rank in ranks:
            self._connections[rank].send((function, args))
        answers = {}
        for rank in ranks:
            assert self._connections[rank].poll(PATIENCE), f"process {rank} hangs"
            answers[rank] = self._connections[rank].recv()
        return answers

    def run(self, function, *args):
        answers = self._call(function, args, range(self.size))
        errors = [error[2] for _, error in answers.values() if error is not None]
        if errors:  # The group cannot be used any more.
            self.restart()
        errors.sort(key=lambda text: "cannot continue" in text)  # The cause comes first.
        assert not errors, errors[0]
        return [result for result, _ in answers.values()]

    def outcomes(self, function, *args, without=()):
        """Return the results of all processes except those in `without`, which die or stop.

        All processes are replaced by new ones afterwards.
        """
        ranks = range(self.size)
        for rank in without:
            self._connections[rank].send((function, args))
        try:
            answers = self._call(function, args, [rank for rank in ranks if rank not in without])
        finally:
            self.restart()
        for _, error in answers.values():
            assert error is None, error[2]
        return [result for result, _ in answers.values()]

    def restart(self):
        self.close(0)
        self._start()

    def close(self, patience=10):
        for connection, process in zip(self._connections, self.processes, strict=True):
            if patience and process.is_alive():
                connection.send(None)
            process.join(patience)
            if process.is_alive():
                process.terminate()
                process.join(1)
            if process.is_alive():
                process.kill()
                process.join()
