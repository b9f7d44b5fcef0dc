"""Reports of how training goes, to a progress bar and to scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback

from sknn._platform._user_code import blamed_on

# A callback that the estimator was given by `set_callbacks`, at the place where it failed.
_SET = "A callback given to set_callbacks"


class EpochBar(Callback):
    """A bar for all epochs that shows loss, validation score, rate and the time that is left."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, net, **kwargs) -> None:
        self.open(net.max_epochs, len(net.records_))

    def open(self, n_epochs: int, n_done: int = 0) -> None:
        """Show a bar for `n_epochs`, of which `n_done` are finished."""
        from tqdm.auto import tqdm  # the import warns in a notebook that lacks widgets

        self.bar = tqdm(total=n_epochs, initial=n_done, unit="epoch")

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        self.show(record["train_loss"], record.get("valid_score"), net.trainer.first_rate)

    def show(self, loss: float, score: float | None = None, rate: float | None = None) -> None:
        """Advance the bar by one epoch."""
        values = {"loss": loss, "score": score, "rate": rate}
        shown = {name: f"{value:.4g}" for name, value in values.items() if value is not None}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()


@contextmanager
def epoch_bars(verbose: bool | int | str) -> Iterator[list[EpochBar]]:
    """Yield a list with a bar if `verbose` is "progress", else an empty one.

    The bar is closed when the body ends, also by an exception.
    """
    bars = [EpochBar()] if verbose == "progress" else []
    try:
        yield bars
    finally:
        for bar in bars:
            if bar.bar is not None:
                bar.bar.close()


class FitTasks:
    """The tasks of one fit that are reported to scikit-learn's callbacks, one for each epoch.

    Parameters
    ----------
    estimator : BaseFeedForward
        The estimator, which has callbacks. This class sets up their context, and `with_callbacks`
        tears it down.
    X, y, sample_weight
        The data as the user gave them.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        with blamed_on(_SET):
            self._fit = estimator._init_callback_context(
                max_subtasks=None if isinstance(estimator.max_iter, str) else estimator.max_iter
            )
            self._fit.call_on_fit_task_begin(**self._given)
        self._epoch: Any = None

    def begin_epoch(self) -> None:
        """Report that an epoch begins."""
        self._epoch = self._fit.subcontext("epoch")
        with blamed_on(_SET):
            self._epoch.call_on_fit_task_begin(**self._given)

    def end_epoch(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Report that the epoch has ended, and return whether a callback asks to stop.

        `attributes` returns the attributes of an estimator that is fitted so far.
        """
        with blamed_on(_SET):
            return self._epoch.call_on_fit_task_end(
                **self._given, reconstruction_attributes=attributes
            )

    def end(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """Report that the whole fit has ended."""
        with blamed_on(_SET):
            self._fit.call_on_fit_task_end(**self._given, reconstruction_attributes=attributes)


class ReportEpochs(Callback):
    """Callback that reports each epoch to `FitTasks`.

    Parameters
    ----------
    tasks : FitTasks
        The tasks of the fit.
    attributes_now : callable
        Function without arguments that returns the attributes of an estimator fitted so far.
    """

    def __init__(self, tasks: FitTasks, attributes_now: Callable[[], dict[str, Any]]) -> None:
        self.tasks = tasks
        self.attributes_now = attributes_now

    def on_epoch_begin(self, net, **kwargs) -> None:
        self.tasks.begin_epoch()

    def on_epoch_end(self, net, **kwargs) -> None:
        if self.tasks.end_epoch(self.attributes_now):
            net.ask_to_stop()
