"""A running training as a snapshot and back, and snapshots as files.

A snapshot is everything that lives from one epoch to the next, so that a training that is put back
to one goes on bit by bit as if it had never stopped. What is made of it, and where it is kept, are
not its business: it can be pickled, and sent to other processes.
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

from sknn._data._processes import Processes, agreement
from sknn._files import _container
from sknn._files._archives import read_archive
from sknn._files._plain import Allowance, Codec, Kind

if TYPE_CHECKING:
    from sknn._training._net import FeedForwardNet

# To be raised when `_state` changes, or how it is written.
FORMAT = 2


class Snapshot(NamedTuple):
    """A training between two epochs.

    Attributes
    ----------
    arrays : list of ndarray
    tree : JSON-able object
        All the rest, in which arrays stand by their places in the list.
    """

    arrays: list[np.ndarray]
    tree: Any


def snapshot(net: FeedForwardNet) -> Snapshot:
    """A copy of what the next epochs depend on.

    Raises
    ------
    ValueError
        If the optimizer, the scheduler or a record of the history holds something else than
        numbers, strings, arrays and containers of them.
    """
    arrays: list[np.ndarray] = []
    tree = {}
    for name, state in _state(net).items():
        try:
            tree[name] = _codec.encode(state, arrays)
        except TypeError as error:
            raise ValueError(
                f"The 'checkpoint_dir' parameter is set, but the state of the {name} holds {error},"
                " which cannot be saved. Allowed are numbers, strings, arrays, tensors, and lists,"
                " tuples and dicts of them. Keep to these, or leave checkpoint_dir at None."
            ) from error
    return Snapshot(arrays, tree)


def resume(net: FeedForwardNet, snapshot: Snapshot) -> None:
    """Put a net that has been made for the same training back to a snapshot.

    Raises
    ------
    Exception
        Of some kind, if the snapshot is of a net of another form. The net is then of no use until
        it is put back to a snapshot of its own.
    """
    _restore(net, _codec.decode(snapshot.tree, snapshot.arrays, Allowance()))


def go_on(net: FeedForwardNet, file: CheckpointFile | SharedCheckpointFile) -> None:
    """Put a net to where its training was when the file was saved, if there is one."""
    beginning = snapshot(net)  # refuses what cannot be saved now, not after the first epochs
    loaded = file.load()
    if loaded is None:
        return
    try:
        resume(net, loaded)
    except Exception as error:
        resume(net, beginning)
        file.warn_of_unusable(error)


def _state(net: FeedForwardNet) -> dict[str, Any]:
    """What lives from one epoch to the next, by whose it is."""
    trainer, parameters, best = net.trainer, net.parameters, net.best_
    schedule, scheduler = trainer.schedule, trainer.scheduler
    return {
        "network": _arrays([parameters.storage, *parameters.buffers]),
        "best network": None if best is None else _arrays([best.rows, *best.buffers]),
        "optimizer": trainer.solver.numbers(),
        "schedule": None if schedule is None else schedule.n_epochs_done,
        "scheduler": None if scheduler is None else scheduler.state(),
        "rows": trainer.batches.state(),
        "generators": _of_all(net, [generator.state() for generator in trainer.generators]),
        "progress": vars(net.progress),
        # What callbacks record of batches is left out: it grows with the steps.
        "history": [{**record, "batches": []} for record in net.records_],
    }


def _restore(net: FeedForwardNet, state: dict[str, Any]) -> None:
    trainer, parameters = net.trainer, net.parameters
    _fill([parameters.storage, *parameters.buffers], state["network"])
    if net.best_ is not None:
        _fill([net.best_.rows, *net.best_.buffers], state["best network"])
    if trainer.schedule is not None:
        trainer.schedule.n_epochs_done = state["schedule"]
    if trainer.scheduler is not None:
        trainer.scheduler.scheduler.load_state_dict(state["scheduler"]["numbers"])
    trainer.solver.restore(state["optimizer"])  # after the scheduler: rates are the optimizer's
    trainer.batches.restore(state["rows"])
    rank, size = (0, 1) if net.processes is None else (net.processes.rank, net.processes.size)
    if len(state["generators"]) != size:
        raise ValueError(f"it is of {len(state['generators'])} processes, not of {size}")
    for generator, its_state in zip(trainer.generators, state["generators"][rank], strict=True):
        generator.restore(its_state)
    vars(net.progress).update(state["progress"])
    net.records_[:] = state["history"]


def _of_all(net: FeedForwardNet, value: Any) -> list[Any]:
    """What each process that trains the net has of its own."""
    return [value] if net.processes is None else net.processes.gather(value)


def _arrays(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().cpu().numpy() for tensor in tensors]


def _fill(tensors: list[torch.Tensor], arrays: list[np.ndarray]) -> None:
    """Copy arrays into tensors of the same shapes and dtypes; torch's copy would take others."""
    for tensor, array in zip(tensors, arrays, strict=True):
        values = torch.from_numpy(array)
        if values.shape != tensor.shape or values.dtype != tensor.dtype:
            raise ValueError(
                f"it holds {values.dtype} of shape {tuple(values.shape)} in the place of"
                f" {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        tensor.copy_(values)


def _write_archive(file: BinaryIO, arrays: list[np.ndarray]) -> None:
    """As `numpy.savez`, which in NumPy 1 leaves its archive open when the disk is full."""
    archive = zipfile.ZipFile(file, "w")
    try:
        for i, array in enumerate(arrays):
            with archive.open(f"arr_{i}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        archive.close()
    except BaseException:
        # A signal's exception may leave an entry open. zipfile would raise another one for that in
        # its place, and a third one when the archive is collected, which this prevents.
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

    It is an archive of NumPy (.npz): a JSON document, then the arrays, each with a checksum. It is
    replaced as a whole, so that there is the last one or the one before, whenever the process ends.

    Parameters
    ----------
    directory : str or os.PathLike
        Made if it is missing.
    fingerprint : str

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
            with suppress(FileNotFoundError):  # swept away by another process
                os.unlink(name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The 'checkpoint_dir' parameter is {directory!r}, where no file can be made:"
                f" {error}. It must be a directory that can be written to, or a path at which one"
                " can be made. Choose another, or leave it at None."
            ) from error

    def load(self) -> Snapshot | None:
        """What was saved last, or None; with a warning, if there is a file that is of no use."""
        self._sweep()
        # A whole training hangs on it, so it is read again before it is given up: in threads,
        # Python 3.11's parser, by which NumPy reads the heads of arrays, fails now and then.
        for is_second in (False, True):
            try:
                return self._read()
            except FileNotFoundError:
                return None
            except Exception as error:  # whatever bytes may make of zipfile, NumPy and json
                if is_second:
                    self.warn_of_unusable(error)
        return None

    def _read(self) -> Snapshot:
        document, *arrays = read_archive(self.path)
        label = json.loads(document.tobytes())
        if label["format"] != FORMAT:
            raise ValueError(f"its format is {label['format']}, and this version's is {FORMAT}")
        if label["fingerprint"] != self.fingerprint:
            raise ValueError("it is of another training")
        return Snapshot(arrays, label["tree"])

    def warn_of_unusable(self, error: Exception) -> None:
        """Say that a file is left aside."""
        warnings.warn(
            f"The checkpoint {self.path} cannot be used ({type(error).__name__}: {error}). Training"
            " begins anew, and will replace it.",
            stacklevel=2,
        )

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file; with a warning, and the file as it was, if that fails."""
        try:
            self._write(snapshot)
        except OSError as error:
            if not self._has_warned:
                warnings.warn(
                    f"The checkpoint {self.path} could not be saved ({error}). Training goes on,"
                    " and tries again; the checkpoint before, if there is one, is still there.",
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
            # Another process that fits the same has swept it away: it has a file of its own.
            if not self.path.parent.is_dir():
                raise

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self._sweep()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(
                f"The checkpoint {self.path} could not be removed ({error}). It is not needed any"
                " more.",
                stacklevel=2,
            )

    def _sweep(self) -> None:
        """Remove what killed processes have left half written."""
        for path in self.path.parent.glob(f"{self.path.name}.*.tmp"):
            with suppress(OSError):
                path.unlink()


class SharedCheckpointFile:
    """The file of a training by several processes: the first one's, of which it tells the others.

    Parameters
    ----------
    directory : str or os.PathLike
        Where the first process can write.
    fingerprint : str
        Of this process; the file is named by those of all.
    processes : Processes
    """

    def __init__(
        self, directory: str | os.PathLike, fingerprint: str, processes: Processes
    ) -> None:
        self._processes = processes
        names = ",".join(processes.gather(fingerprint))
        self._file: CheckpointFile | None = None
        with agreement(processes):
            if processes.rank == 0:
                name = hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()
                self._file = CheckpointFile(directory, name)

    @property
    def path(self) -> Path | str:
        return "process 0" if self._file is None else self._file.path

    def load(self) -> Snapshot | None:
        """What the first process has saved last, or None."""
        return self._processes.first(None if self._file is None else self._file.load())

    def warn_of_unusable(self, error: Exception) -> None:
        """Say that a file is left aside."""
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
    """Saves the training every so many epochs, if it goes on.

    The last of the rules: after it, nothing changes before the next epoch.
    """

    def __init__(self, file: CheckpointFile | SharedCheckpointFile, every: int) -> None:
        self.file = file
        self.every = every

    def on_epoch_end(self, net, **kwargs) -> None:
        n_epochs = len(net.records_)
        if n_epochs % self.every == 0 and n_epochs < net.max_epochs:
            self.file.save(snapshot(net))
