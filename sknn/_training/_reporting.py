"""Reports of how training goes, to a progress bar and to scikit-learn's callbacks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from skorch.callbacks import Callback

from sknn._platform._user_code import blamed_on
from sknn._training._larger_run import runs_beside_others

if TYPE_CHECKING:
    from sknn._training._problem import Model, Problem

# A callback that the estimator was given by `set_callbacks`, at the place where it failed.
_SET = "A callback given to set_callbacks"


class EpochBar(Callback):
    """A bar for all epochs that shows loss, validation score, rate and the time that is left.

    Parameters
    ----------
    label : str or None, default=None
        What is trained. With a label there is no bar, but one line when training ends.
    """

    def __init__(self, label: str | None = None) -> None:
        self.label = label
        self.bar: Any = None

    def on_train_begin(self, net, **kwargs) -> None:
        self.open(net.max_epochs, len(net.records_))

    def open(self, n_epochs: int, n_done: int = 0) -> None:
        """Show a bar for `n_epochs`, of which `n_done` are finished."""
        if self.label is None:
            from tqdm.auto import tqdm  # the import warns in a notebook that lacks widgets

            options = {"unit": "epoch"}
        else:
            from tqdm import tqdm

            line = "{desc}: {n_fmt} of {total_fmt} epochs in {elapsed}{postfix}"
            options = {"desc": self.label, "bar_format": line, "file": StringIO()}
        self.bar = tqdm(total=n_epochs, initial=n_done, **options)

    def on_epoch_end(self, net, **kwargs) -> None:
        record = net.record_
        self.show(record["train_loss"], record.get("valid_score"), net.trainer.first_rate)

    def show(self, loss: float, score: float | None = None, rate: float | None = None) -> None:
        """Advance the bar by one epoch."""
        values = {"loss": loss, "score": score, "rate": rate}
        shown = {name: f"{value:.4g}" for name, value in values.items() if value is not None}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def close(self) -> None:
        """End the bar, if it is open, or print the line that stands for it."""
        if self.bar is None:
            return
        self.bar.close()
        if self.label is not None:
            sys.stderr.write(f"{self.bar}\n")  # in one piece, as others write there too


@contextmanager
def epoch_bars(
    verbose: bool | int | str, problem: Problem, start: Model
) -> Iterator[list[EpochBar]]:
    """Yield a list with a bar if `verbose` is "progress", else an empty one.

    The bar is closed when the body ends, also by an exception. Where several networks are trained
    at once, so that their bars would overwrite each other, a line that names the parameters takes
    the place of each bar.
    """
    bars = []
    if verbose == "progress":
        beside = runs_beside_others()
        bars = [EpochBar(" ".join(repr(problem.estimator_at(start)).split()) if beside else None)]
    try:
        yield bars
    finally:
        for bar in bars:
            bar.close()


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
