"""The skorch net: epochs, events, history.

skorch runs the epochs and notifies the callbacks; overridden here are only where the data comes
from and how one epoch runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import skorch
import torch
from skorch.callbacks import Callback, EpochTimer
from skorch.history import History

from sknn._batches import Batches
from sknn._losses import LOSSES, Criterion
from sknn._module import FeedForwardModule
from sknn._parameters import FlatParameters
from sknn._solvers import SGD, Solver
from sknn._steps import AutogradStep, ClosedFormStep, LossMeter
from sknn._stopping import Progress, StopTraining


class EpochHistory(History):
    """skorch's history, in which one epoch's row is looked up without copying all of them."""

    def __getitem__(self, i):
        return list.__getitem__(self, i) if isinstance(i, int) else super().__getitem__(i)


class FeedForwardNet(skorch.NeuralNet):
    """A `skorch.NeuralNet` over one flat vector of parameters.

    Parameters
    ----------
    module : FeedForwardModule
        Its parameters are views of `parameters`.
    criterion : Criterion
    optimizer : type of Solver
        Called with `parameters`.
    parameters : FlatParameters
    step : ClosedFormStep or AutogradStep, default=None
        A batch to a loss and a gradient. Without one the net only predicts.
    meter : LossMeter, default=None
    progress : Progress, default=None
    max_epochs : int, default=0
    callbacks : list of skorch.callbacks.Callback, default=None
    device : str, default="cpu"

    Attributes
    ----------
    record_ : dict
        The last epoch's row of `history`: `epoch`, `train_loss`, `valid_score` (with early
        stopping) and `dur`.
    interrupted_ : bool
        Whether the user's Ctrl-C ended the epochs.
    best_ : torch.Tensor of shape (n_parameters,) or None
        The parameters of the best validation score; None without early stopping.
    stopped_ : StopTraining or None
        What ended the epochs before `max_epochs`.
    """

    def __init__(
        self,
        module: FeedForwardModule,
        criterion: Criterion,
        optimizer: Callable[..., Solver],
        parameters: FlatParameters,
        step: ClosedFormStep | AutogradStep | None = None,
        meter: LossMeter | None = None,
        progress: Progress | None = None,
        max_epochs: int = 0,
        callbacks: list[Callback] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            max_epochs=max_epochs,
            callbacks=callbacks,
            device=device,
            train_split=None,
            verbose=0,
            history=EpochHistory(),
        )
        self.parameters = parameters
        self.step = step
        self.meter = meter
        self.progress = progress
        self.interrupted_ = False
        self.stopped_: StopTraining | None = None
        self.best_: torch.Tensor | None = None

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize_module(self):
        """Take the module as it is: its parameters are views that must not be made anew."""
        self.module_ = self.module
        return self

    def initialize_criterion(self):
        """Take the criterion as it is."""
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any):
        """Give the optimizer the flat vector instead of the module's parameters."""
        self.optimizer_ = self.optimizer(self.parameters)
        return self

    def get_split_datasets(self, X, y=None, **fit_params):
        """`X` is a `Batches` and `y` the validation score: the estimator has drawn the split."""
        if isinstance(X, Batches):
            return X, y
        return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, dataset, training=False):
        """The estimator's batches and score are their own iterators."""
        if isinstance(dataset, Batches) or callable(dataset):
            return dataset
        return super().get_iterator(dataset, training=training)

    def initialize_callbacks(self):
        super().initialize_callbacks()
        vars(self)["_listeners"] = {}  # past skorch's __setattr__, which costs 2 us
        return self

    def notify(self, method_name, **cb_kwargs):
        """skorch's, without calls of the methods that a callback does not override."""
        if method_name not in self._listeners:
            listening = [
                getattr(callback, method_name)
                for _, callback in self.callbacks_
                if getattr(type(callback), method_name) is not getattr(Callback, method_name)
            ]
            self._listeners[method_name] = [getattr(self, method_name), *listening]
        for listener in self._listeners[method_name]:
            listener(self, **cb_kwargs)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs) -> None:
        """Begin the epoch's row of the history, as skorch does, and keep it at hand."""
        record = {"batches": [], "epoch": len(self.history_) + 1}
        self.history_.append(record)
        vars(self)["record_"] = record

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params) -> None:
        """One pass over the batches, or one look at the validation rows."""
        if iterator is None:
            return
        if callable(iterator):
            self.record_["valid_score"] = iterator()
        elif isinstance(iterator, Batches):
            step, meter, update = self.step, self.meter, self.optimizer_.update
            for batch in iterator:
                step(batch, meter.slot(batch))
                update()
            self.record_["train_loss"] = meter.read()
        else:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """skorch's epochs, told apart: a rule's end, and the user's Ctrl-C."""
        # Entered once: each entry makes the next operations slower, together by 10 us.
        grad_mode = nullcontext if self.step is None else self.step.grad_mode
        try:
            with grad_mode():
                super().fit_loop(X, y, epochs, **fit_params)
        except StopTraining as stop:
            self.stopped_ = stop
        except KeyboardInterrupt:
            self.interrupted_ = True
            self._back_to_saved_epoch()
        return self

    def is_finite(self) -> bool:
        """Whether all parameters are finite."""
        return bool(torch.isfinite(self.parameters.storage[0]).all())

    def remember_best(self) -> None:
        """Keep a copy of the parameters as the best so far."""
        self.best_ = self.parameters.storage[0].clone()

    def save_epoch(self) -> None:
        """Keep a copy of everything that the next epoch will change."""
        self.parameters.save()
        solver = self.optimizer_
        numbers = {"lr": solver.param_groups[0]["lr"], "n_updates": solver.n_updates}
        vars(self)["_saved"] = (len(self.history), self.progress.mark(), numbers, self.best_)

    def _back_to_saved_epoch(self) -> None:
        n_epochs, mark, numbers, best = self._saved
        del self.history[n_epochs:]
        self.parameters.revert()
        self.progress.rewind(mark)
        self.optimizer_.restore(numbers)
        self.best_ = best


def net_of(
    coefs: list[np.ndarray],
    intercepts: list[np.ndarray],
    activation: str,
    loss: str,
    history: list[dict[str, Any]],
) -> FeedForwardNet:
    """The skorch net of a fitted model, with weights of its own, on the CPU."""
    units = (len(coefs[0]), *(len(b) for b in intercepts))
    is_single = np.asarray(coefs[0]).dtype == np.float32
    dtype = torch.float32 if is_single else torch.float64
    parameters = FlatParameters(units, SGD.n_slots, dtype=dtype)
    parameters.write(coefs, intercepts)
    net = FeedForwardNet(
        FeedForwardModule(parameters.weights, parameters.biases, activation),
        Criterion(LOSSES[loss]),
        SGD,
        parameters,
    ).initialize()
    net.history.extend({**record, "batches": []} for record in history)
    return net


def plain_records(history: list[dict[str, Any]], n_before: int) -> list[dict[str, Any]]:
    """skorch's history as plain records, numbered on from those before."""
    return [
        {**{k: v for k, v in record.items() if k != "batches"}, "epoch": n}
        for n, record in enumerate(history, n_before + 1)
    ]
