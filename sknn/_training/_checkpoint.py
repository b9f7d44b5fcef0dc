"""Snapshots of a running training, and the files that keep them.

A snapshot is everything that lives from one epoch to the next, so that a training that resumes from
it goes on, bit for bit, as if it had never stopped. A snapshot knows nothing of files: it can also
be pickled, or sent to other processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback

from sknn._data._processes import Processes
from sknn._files import _container
from sknn._files._archives import read_archive
from sknn._files._plain_values import Allowance, Codec, Kind
from sknn._training._stopping import StopTraining

if TYPE_CHECKING:
    from sknn._training._net import FeedForwardNet

# Raise this number when `_state` changes, or the way in which it is written.
FORMAT = 4


class Snapshot(NamedTuple):
    """The state of a training between two epochs, or after the last one.

    Attributes
    ----------
    arrays : list of ndarray
        The arrays of the state.
    tree : JSON-able object
        Everything else, with the index in `arrays` in the place of each array.
    """

    arrays: list[np.ndarray]
    tree: Any


def snapshot(net: FeedForwardNet) -> Snapshot:
    """Return a copy of everything that the next epochs depend on.

    Raises
    ------
    ValueError
        If the optimizer, the scheduler or a record of the history holds anything but numbers,
        strings, arrays and containers of them.
    """
    arrays: list[np.ndarray] = []
    tree = {}
    for name, state in _state(net).items():
        try:
            tree[name] = _codec.encode(state, arrays)
        except TypeError as error:
            raise ValueError(
                f"The 'checkpoint_dir' parameter is set, but the state of the {name} contains"
                f" {error}, which cannot be saved. Only numbers, strings, arrays, tensors, and"
                " lists, tuples and dicts of them can be saved. Use only these, or leave"
                " checkpoint_dir at None."
            ) from error
    return Snapshot(arrays, tree)


def resume(net: FeedForwardNet, snapshot: Snapshot) -> None:
    """Restore a net, which was made for the same training, to a snapshot.

    Raises
    ------
    Exception
        If the snapshot does not fit the net. The exception can be of any class, and the net is
        unusable until it is restored to a snapshot of its own.
    """
    _restore(net, _codec.decode(snapshot.tree, snapshot.arrays, Allowance()))


def go_on(net: FeedForwardNet, file: CheckpointFile | SharedCheckpointFile) -> None:
    """Resume the training of a net from a file, if the file exists."""
    # A state that cannot be saved raises its error here, and not after the first epochs.
    beginning = snapshot(net)
    loaded = file.load()
    if loaded is None:
        return
    try:
        resume(net, loaded)
    except Exception as error:
        resume(net, beginning)
        file.warn_of_unusable(error)


def _state(net: FeedForwardNet) -> dict[str, Any]:
    """Return everything that lives from one epoch to the next, by the name of its owner."""
    trainer, parameters, best = net.trainer, net.parameters, net.best_
    schedule, scheduler = trainer.schedule, trainer.scheduler
    return {
        "network": _arrays([parameters.storage, *parameters.buffers]),
        "best network": None if best is None else _arrays([best.rows, *best.buffers]),
        "optimizer": trainer.solver.numbers(),
        "schedule": None if schedule is None else schedule.state(),
        "scheduler": None if scheduler is None else scheduler.state(),
        "rows": trainer.batches.state(),
        "generators": net.processes.gather([generator.state() for generator in trainer.generators]),
        "progress": vars(net.progress),
        # Records that callbacks make of batches are left out, because they grow with each step.
        "history": [{**record, "batches": []} for record in net.records_],
        "end": (net.has_ended_, None if net.stopped_ is None else net.stopped_.diverged),
    }


def _restore(net: FeedForwardNet, state: dict[str, Any]) -> None:
    trainer, parameters = net.trainer, net.parameters
    _fill([parameters.storage, *parameters.buffers], state["network"])
    if net.best_ is not None:
        _fill([net.best_.rows, *net.best_.buffers], state["best network"])
    if trainer.schedule is not None:
        trainer.schedule.restore(state["schedule"])
    if trainer.scheduler is not None:
        trainer.scheduler.restore(state["scheduler"])
    # This comes after the scheduler, because the saved rates are those of the optimizer.
    trainer.solver.restore(state["optimizer"])
    if trainer.waves is not None and trainer.waves.all_rows is not None:
        trainer.begin_first_wave()
        raised = trainer.waves.raise_in_last_wave(state["history"])
        if raised is not None:
            trainer.begin_last_wave(raised)
    trainer.batches.restore(state["rows"])
    rank, size = net.processes.rank, net.processes.size
    if len(state["generators"]) != size:
        raise ValueError(
            f"it was saved by {len(state['generators'])} processes, but this training has {size}"
        )
    for generator, its_state in zip(trainer.generators, state["generators"][rank], strict=True):
        generator.restore(its_state)
    vars(net.progress).update(state["progress"])
    net.records_[:] = state["history"]
    net.has_ended_, diverged = state["end"]
    net.stopped_ = None if diverged is None else StopTraining(diverged)


def _arrays(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().cpu().numpy() for tensor in tensors]


def _fill(tensors: list[torch.Tensor], arrays: list[np.ndarray]) -> None:
    """Copy arrays into tensors, and refuse other shapes and dtypes, which torch would convert."""
    for tensor, array in zip(tensors, arrays, strict=True):
        values = torch.from_numpy(array)
        if values.shape != tensor.shape or values.dtype != tensor.dtype:
            raise ValueError(
                f"it contains {values.dtype} of shape {tuple(values.shape)} instead of"
                f" {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        tensor.copy_(values)


def _write_archive(file: BinaryIO, arrays: list[np.ndarray]) -> None:
    """Write arrays as `numpy.savez` does, which in NumPy 1 does not close a file on a full disk."""
    archive = zipfile.ZipFile(file, "w")
    try:
        for i, array in enumerate(arrays):
            with archive.open(f"arr_{i}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        archive.close()
    except BaseException:
        # A signal's exception may leave an entry open. Without the next line, zipfile would replace
        # that exception by its own, and raise another one when the archive is collected.
        archive.fp = None
        raise


_codec = Codec(
    tensor=Kind(
        torch.Tensor,
        lambda tensor: tensor.detach().cpu().numpy(),
        lambda array: torch.from_numpy(array.copy()),
    )
)


class CheckpointFile:
    """The file of one training, named by its fingerprint.

    The file is a NumPy archive (.npz) with a JSON document and the arrays, each with a checksum. It
    is replaced as a whole, so that the latest snapshot or the one before exists whenever the
    process ends.

    Parameters
    ----------
    directory : str or os.PathLike
        Directory of the file, which is made if it is missing.
    fingerprint : str
        The name of the training.

    Raises
    ------
    ValueError
        If no file can be made in the directory.
    """

    def __init__(self, directory: str | os.PathLike, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.path = Path(os.fsdecode(directory)).absolute() / f"sknn-{fingerprint}.npz"
        self._has_warned = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = _container.new_file(self.path)
            os.close(handle)
            with suppress(FileNotFoundError):  # another process has swept it away
                os.unlink(name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The 'checkpoint_dir' parameter is {directory!r}, where no file can be created:"
                f" {error}. It must be a writable directory, or a path where one can be created."
                " Choose another directory, or leave checkpoint_dir at None."
            ) from error

    def load(self) -> Snapshot | None:
        """Return the snapshot that was saved last, or None. An unusable file gives a warning."""
        self._sweep()
        # A whole training depends on the file, so it is read a second time before it is given up:
        # in threads, the parser of Python 3.11, with which NumPy reads the headers of arrays, fails
        # now and then.
        for is_second in (False, True):
            try:
                return self._read()
            except FileNotFoundError:
                return None
            except Exception as error:  # damaged bytes may raise anything in zipfile, NumPy or json
                if is_second:
                    self.warn_of_unusable(error)
        return None

    def _read(self) -> Snapshot:
        document, *arrays = read_archive(self.path)
        label = json.loads(document.tobytes())
        if label["format"] != FORMAT:
            raise ValueError(f"its format is {label['format']}, but this version uses {FORMAT}")
        if label["fingerprint"] != self.fingerprint:
            raise ValueError("it belongs to another training")
        return Snapshot(arrays, label["tree"])

    def warn_of_unusable(self, error: Exception) -> None:
        """Warn that the file is not used."""
        warnings.warn(
            f"The checkpoint {self.path} cannot be used ({type(error).__name__}: {error}). Training"
            " starts from the beginning and will replace it.",
            stacklevel=2,
        )

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file. If that fails, warn and leave the file as it was."""
        try:
            self._write(snapshot)
        except OSError as error:
            if not self._has_warned:
                warnings.warn(
                    f"The checkpoint {self.path} could not be saved ({error}). Training"
                    " continues and will try again. The previous checkpoint, if any, is kept.",
                    stacklevel=2,
                )
            self._has_warned = True

    def _write(self, snapshot: Snapshot) -> None:
        label = {"format": FORMAT, "fingerprint": self.fingerprint, "tree": snapshot.tree}
        document = np.frombuffer(json.dumps(label).encode(), np.uint8)
        try:
            with _container.replacing(self.path) as file:
                _write_archive(file, [document, *snapshot.arrays])
        except FileNotFoundError:
            # Another process with the same training has swept the new file away. It writes its own.
            if not self.path.parent.is_dir():
                raise

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self._sweep()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {self.path} could not be removed ({error}). It is no longer"
                " needed.",
                stacklevel=2,
            )

    def _sweep(self) -> None:
        """Remove the unfinished files of killed processes."""
        for path in self.path.parent.glob(f"{self.path.name}.*.tmp"):
            with suppress(OSError):
                path.unlink()


class SharedCheckpointFile:
    """The file of a training by several processes, which the first process reads and writes.

    Parameters
    ----------
    directory : str or os.PathLike
        Directory in which the first process can write.
    fingerprint : str
        Fingerprint of this process. The fingerprints of all processes name the file.
    processes : Processes
        The processes that train the network.
    """

    def __init__(
        self, directory: str | os.PathLike, fingerprint: str, processes: Processes
    ) -> None:
        self._processes = processes
        names = ",".join(processes.gather(fingerprint))
        self._file: CheckpointFile | None = None
        with processes.agreement():
            if processes.rank == 0:
                name = hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()
                self._file = CheckpointFile(directory, name)

    @property
    def path(self) -> Path | str:
        return "process 0" if self._file is None else self._file.path

    def load(self) -> Snapshot | None:
        """Return the snapshot that the first process has saved last, or None."""
        return self._processes.first(None if self._file is None else self._file.load())

    def warn_of_unusable(self, error: Exception) -> None:
        """Warn that the file is not used."""
        if self._file is not None:
            self._file.warn_of_unusable(error)

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file."""
        if self._file is not None:
            self._file.save(snapshot)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._file is not None:
            self._file.remove()


class SaveCheckpoint(Callback):
    """Callback that saves a snapshot after every `every` epochs, except after the last epoch.

    This is the last of the callbacks: nothing changes between it and the next epoch.
    """

    def __init__(self, file: CheckpointFile | SharedCheckpointFile, every: int) -> None:
        self.file = file
        self.every = every

    def on_epoch_end(self, net, **kwargs) -> None:
        n_epochs = len(net.records_)
        if n_epochs % self.every == 0 and n_epochs < net.max_epochs:
            self.file.save(snapshot(net))
