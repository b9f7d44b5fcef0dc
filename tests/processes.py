"""Processes that wait for work, for the tests of training by several."""

from __future__ import annotations

import datetime
import multiprocessing
import traceback
import warnings

import torch
import torch.distributed as dist

TIMEOUT = 6  # of a call to the other processes, in seconds


def _serve(rank, size, store, connection):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(seconds=TIMEOUT),
    )
    while (job := connection.recv()) is not None:
        function, args = job
        try:
            connection.send((function(rank, *args), None))
        except Exception as error:
            connection.send((None, (type(error), str(error), traceback.format_exc())))


class Team:
    """Processes of one group, on this machine.

    `run` calls a function of a test module in all of them, with the rank first, and returns what
    they return, or raises the first error; `errors` returns the type and the words of each error.
    """

    def __init__(self, size, folder):
        self.size = size
        self._folder = folder
        self._n_starts = 0
        self._start()

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._n_starts += 1
        self._connections, self.processes = [], []
        for rank in range(self.size):
            here, there = context.Pipe()
            args = (rank, self.size, self._folder / f"store{self._n_starts}", there)
            process = context.Process(target=_serve, args=args, daemon=True)
            process.start()
            there.close()
            self._connections.append(here)
            self.processes.append(process)

    def call(self, function, *args):
        for connection in self._connections:
            connection.send((function, args))
        return [connection.recv() for connection in self._connections]

    def run(self, function, *args):
        answers = self.call(function, *args)
        if any(error for _, error in answers):  # the group cannot be used any more
            self.close(0)
            self._start()
        errors = [error[2] for _, error in answers if error is not None]
        errors.sort(key=lambda text: "cannot go on" in text)  # the cause first
        assert not errors, errors[0]
        return [result for result, _ in answers]

    def errors(self, function, *args):
        return [error and error[:2] for _, error in self.call(function, *args)]

    def close(self, patience=10):
        for connection, process in zip(self._connections, self.processes, strict=True):
            if process.is_alive():
                connection.send(None)
            process.join(patience)
            if process.is_alive():
                process.kill()
