"""Who is told how training goes: a progress bar, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback


class EpochBar(Callback):
    """One bar for all epochs: loss, validation score, rate, time left."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, net, **kwargs) -> None:
        self.open(net.max_epochs, len(net.records_))

    def open(self, n_epochs: int, n_done: int = 0) -> None:
        from tqdm.auto import tqdm  # which warns where a notebook lacks widgets

        self.bar = tqdm(total=n_epochs, initial=n_done, unit="epoch")

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        self.show(record["train_loss"], record.get("valid_score"), net.trainer.first_rate)

    def show(self, loss: float, score: float | None = None, rate: float | None = None) -> None:
        """Go on by one epoch."""
        values = {"loss": loss, "score": score, "rate": rate}
        shown = {name: f"{value:.4g}" for name, value in values.items() if value is not None}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()


@contextmanager
def epoch_bars(verbose: bool | int | str) -> Iterator[list[EpochBar]]:
    """The bar that `verbose="progress"` asks for, or none; closed when the body ends, anyhow."""
    bars = [EpochBar()] if verbose == "progress" else []
    try:
        yield bars
    finally:
        for bar in bars:
            if bar.bar is not None:
                bar.bar.close()


class FitTasks:
    """The tasks of one fit, as scikit-learn's callbacks are told of them: one for each epoch.

    Parameters
    ----------
    estimator : BaseFeedForward
        With callbacks; its context is set up here, and torn down by `with_callbacks`.
    X, y, sample_weight
        As the user gave them.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self._fit.call_on_fit_task_begin(**self._given)
        self._epoch: Any = None

    def begin_epoch(self) -> None:
        self._epoch = self._fit.subcontext("epoch")
        self._epoch.call_on_fit_task_begin(**self._given)

    def end_epoch(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Returns whether a callback asks to stop; `attributes` makes those of a fitted copy."""
        return self._epoch.call_on_fit_task_end(**self._given, reconstruction_attributes=attributes)

    def end(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """The whole fit is over."""
        self._fit.call_on_fit_task_end(**self._given, reconstruction_attributes=attributes)


class ReportEpochs(Callback):
    """Tells `FitTasks` of each epoch.

    Parameters
    ----------
    tasks : FitTasks
    attributes_now : callable
        Makes the attributes of an estimator fitted so far.
    """

    def __init__(self, tasks: FitTasks, attributes_now: Callable[[], dict[str, Any]]) -> None:
        self.tasks = tasks
        self.attributes_now = attributes_now

    def on_epoch_begin(self, net, **kwargs) -> None:
        self.tasks.begin_epoch()

    def on_epoch_end(self, net, **kwargs) -> None:
        if self.tasks.end_epoch(self.attributes_now):
            net.ask_to_stop()
