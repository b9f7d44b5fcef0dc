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

from sknn._network._losses import Criterion, Loss
from sknn._network._module import FeedForwardModule, modules_between
from sknn._network._parameters import Checkpoint, FlatParameters
from sknn._network._solvers import SGD
from sknn._platform._torch_settings import usual_settings
from sknn._training._callbacks import is_listening, is_raised_by_statement
from sknn._training._problem import Network
from sknn._training._stopping import Progress, StopTraining
from sknn._training._trainer import Trainer

_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class EpochHistory(History):
    """skorch's history, in which one epoch's row is looked up without copying all of them."""

    def __getitem__(self, i):
        return list.__getitem__(self, i) if isinstance(i, int) else super().__getitem__(i)


class FeedForwardNet(skorch.NeuralNet):
    """A `skorch.NeuralNet` over one flat vector of parameters.

    What it learns from is the trainer's; the data sets are for callbacks to look at. Once there is
    an `estimator_now`, its predictions are the estimator's, in the user's own labels.

    Parameters
    ----------
    module : FeedForwardModule
        Its parameters are views of `parameters`.
    criterion : Criterion
    optimizer : callable
        Makes the `torch.optim.Optimizer`, of `parameters`.
    parameters : FlatParameters
    trainer : Trainer, default=None
        Without one the net only predicts.
    progress : Progress, default=None
    estimator_now : callable, default=None
        Makes an estimator that predicts as the network does now.
    datasets : tuple of (Dataset, Dataset or None), default=None
        Training and validation rows with their targets, for the user's callbacks; None if there
        are no such callbacks.
    rules : pair of lists of skorch.callbacks.Callback, default=((), ())
        Callbacks that come before the user's, and after them.
    processes : Processes, default=None
        That train this network together.
    max_epochs : int, default=0
    batch_size : int, default=128
    callbacks : list, default=None
        The user's.
    verbose : int, default=0
    device : str, default="cpu"

    Attributes
    ----------
    user_callbacks : list of (str, skorch.callbacks.Callback)
        Those of `callbacks`, initialized.
    records_ : list of dict
        The rows of `history`, also when a callback has put another in its place.
    record_ : dict
        The last epoch's row of `history`: `epoch`, `train_loss`, `train_loss_best`, `dur`, and with
        validation rows `valid_score`, `valid_loss`, `valid_loss_best`.
    interrupted_ : bool
        Whether the user's Ctrl-C ended the epochs.
    best_ : Checkpoint or None
        The parameters of the best validation score; None without early stopping.
    stopped_ : StopTraining or None
        What ended the epochs before `max_epochs`.
    """

    def __init__(
        self,
        module: FeedForwardModule,
        criterion: Criterion,
        optimizer: Callable[[FlatParameters], torch.optim.Optimizer],
        parameters: FlatParameters,
        trainer: Trainer | None = None,
        progress: Progress | None = None,
        estimator_now: Callable[[], Any] | None = None,
        datasets: tuple[Any, Any] | None = None,
        rules: tuple[list[Callback], list[Callback]] = ((), ()),
        processes: Any = None,
        max_epochs: int = 0,
        batch_size: int = 128,
        callbacks: list[Any] | None = None,
        verbose: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            max_epochs=max_epochs,
            batch_size=batch_size,
            callbacks=callbacks,
            device=device,
            train_split=None,
            verbose=verbose,
            # Scoring callbacks predict from rows; outputs of batches are not kept for them.
            use_caching=False,
            # For the one of skorch that counts batches.
            iterator_valid__batch_size=len(datasets[1]) if datasets and datasets[1] else batch_size,
            history=EpochHistory(),
        )
        self.parameters = parameters
        self.trainer = trainer
        self.progress = progress
        self.estimator_now = estimator_now
        self.datasets = datasets
        self.rules = rules
        self.processes = processes
        self.interrupted_ = False
        self.is_asked_to_stop_ = False
        self.stopped_: StopTraining | None = None
        self.best_: Checkpoint | None = None

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

    def initialize_history(self):
        super().initialize_history()
        vars(self)["records_"] = self.history_
        return self

    def get_split_datasets(self, X, y=None, **fit_params):
        """The estimator has drawn the split."""
        if self.trainer is None:
            return super().get_split_datasets(X, y, **fit_params)
        return (self.trainer, self.trainer.validate) if self.datasets is None else self.datasets

    def get_iterator(self, dataset, training=False):
        """The trainer has batches of its own."""
        if self.trainer is None or (self.datasets is not None and not training):
            loader = super().get_iterator(dataset, training=training)
            # Each pass draws a seed for its workers, by default from torch's global generator.
            if not training and getattr(loader, "generator", False) is None:
                loader.generator = torch.Generator()
            return loader
        return self.trainer

    def initialize_callbacks(self):
        super().initialize_callbacks()
        before, after = ([(type(rule).__name__, rule) for rule in part] for part in self.rules)
        timer, *users = self.callbacks_
        vars(self)["user_callbacks"] = users
        self.callbacks_ = [timer, *before, *users, *after]
        vars(self)["_listeners"] = {}  # past skorch's __setattr__, which costs 2 us
        vars(self)["_has_batch_events"] = any(map(self._listening, _BATCH_EVENTS))
        return self

    def _listening(self, event: str) -> list[Callable[..., None]]:
        """The callbacks' methods for an event."""
        users = [callback for _, callback in self.user_callbacks]
        return [
            _ending_by_statement(c, event) if c in users else getattr(c, event)
            for _, c in self.callbacks_
            if is_listening(c, event)
        ]

    def notify(self, method_name, **cb_kwargs):
        """skorch's, without calls of the methods that a callback does not override."""
        if method_name not in self._listeners:
            self._listeners[method_name] = self._listening(method_name)
        getattr(self, method_name)(self, **cb_kwargs)
        for listener in self._listeners[method_name]:
            listener(self, **cb_kwargs)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs) -> None:
        """Begin the epoch's row of the history, as skorch does, and keep it at hand."""
        record = {"batches": [], "epoch": len(self.history_) + 1}
        self.history_.append(record)
        vars(self)["record_"] = record

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params) -> None:
        """One pass over the batches, or one look at the validation rows."""
        if self.trainer is None:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        elif not training:
            if iterator is not None:
                self._validate()
        elif self.datasets is None:
            self.record_["train_loss"] = self.trainer.epoch()
        else:
            # Not for the whole fit: the user's callbacks may want to differentiate, and to predict.
            self.module_.train()
            with self.trainer.grad_mode():
                loss = self.trainer.epoch(self if self._has_batch_events else None)
            self.module_.eval()
            self.record_["train_loss"] = loss
            if not self._has_batch_events:  # skorch's Checkpoint looks for a last batch
                self.record_["batches"].append({"train_batch_size": self.batch_size})

    def _validate(self) -> None:
        validate = self.trainer.validate
        if self._has_batch_events:
            self.notify("on_batch_begin", batch=validate.shown, training=False)
        score, loss = validate()
        self.record_["valid_score"], self.record_["valid_loss"] = score, loss
        if self._has_batch_events:
            n_rows = len(validate.shown[1])
            self.record_["batches"][-1].update(valid_loss=loss, valid_batch_size=n_rows)
            self.notify(
                "on_batch_end", batch=validate.shown, training=False, loss=loss, y_pred=None
            )

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """skorch's epochs, told apart: a rule's end, and the user's Ctrl-C."""
        # Entered once: each entry makes the next operations slower, together by 10 us.
        is_once = self.trainer is not None and self.datasets is None
        try:
            with self.trainer.grad_mode() if is_once else nullcontext():
                super().fit_loop(X, y, epochs, **fit_params)
        except StopTraining as stop:
            self.stopped_ = stop.with_traceback(None)  # its frames hold this net
            if stop.is_amid_epoch:
                self._back_to_saved_epoch()
        except KeyboardInterrupt:
            self.interrupted_ = True
            self._back_to_saved_epoch()
        return self

    # What the user's callbacks see of predictions: the estimator's.

    @property
    def classes_(self) -> np.ndarray:
        """The classifier's labels."""
        if self.estimator_now is None:
            raise AttributeError("classes_")
        return self.estimator_now().classes_

    def __sklearn_tags__(self):
        if self.estimator_now is None:
            return super().__sklearn_tags__()
        return self.estimator_now().__sklearn_tags__()

    def predict(self, X):
        """The estimator's predictions; skorch's for a net without one."""
        return super().predict(X) if self.estimator_now is None else self.estimator_now().predict(X)

    def predict_proba(self, X):
        """The estimator's probabilities; skorch's for a net without one."""
        if self.estimator_now is None:
            return super().predict_proba(X)
        return self.estimator_now().predict_proba(X)

    def score(self, X, y):
        """The estimator's score."""
        return self.estimator_now().score(X, y)

    def __getstate__(self):
        if self.trainer is not None:
            raise TypeError(
                "The net of a running fit cannot be pickled. Pickle the fitted estimator; in"
                " skorch's Checkpoint, leave f_pickle=None."
            )
        return super().__getstate__()

    def is_finite(self) -> bool:
        """Whether all parameters are finite."""
        return bool(torch.isfinite(self.parameters.storage[0]).all())

    def remember_best(self) -> None:
        """Keep a copy of the parameters as the best so far."""
        self.best_ = self.parameters.checkpoint()

    def ask_to_stop(self) -> None:
        """End training when all have seen the end of this epoch."""
        vars(self)["is_asked_to_stop_"] = True

    def save_epoch(self) -> None:
        """Keep a copy of everything that the next epoch will change."""
        self.trainer.save()
        vars(self)["_saved"] = (len(self.history), self.progress.mark(), self.best_)

    def _back_to_saved_epoch(self) -> None:
        n_epochs, mark, best = self._saved
        del self.history[n_epochs:]
        self.trainer.revert()
        self.progress.rewind(mark)
        self.best_ = best


def _ending_by_statement(callback: Callback, event: str) -> Callable[..., None]:
    """A method of a user's callback, whose way to end training is told from a Ctrl-C in it.

    skorch's callbacks raise a KeyboardInterrupt. In the midst of an epoch it ends with the one
    before; outside the epochs it is the user's, as in skorch.
    """
    listener = getattr(callback, event)
    if event in ("on_train_begin", "on_train_end"):
        return listener

    def listen(net: FeedForwardNet, **kwargs: Any) -> None:
        try:
            listener(net, **kwargs)
        except KeyboardInterrupt as interrupt:
            if not is_raised_by_statement(interrupt):
                raise
            if event != "on_epoch_end" and net.processes is None:
                raise StopTraining(is_amid_epoch=True) from None
            net.ask_to_stop()

    return listen


def net_of(
    coefs: list[np.ndarray],
    intercepts: list[np.ndarray],
    modules: dict[str, np.ndarray],
    network: Network,
    loss: Loss,
    history: list[dict[str, Any]],
) -> FeedForwardNet:
    """The skorch net of a fitted model, with weights of its own, on the CPU."""
    with usual_settings(torch.device("cpu")):
        between = modules_between(network)
        is_single = np.asarray(coefs[0]).dtype == np.float32
        parameters = FlatParameters(
            network.layer_units,
            SGD.n_slots,
            dtype=torch.float32 if is_single else torch.float64,
            modules=[module for layer in between for _, module in layer],
        )
        parameters.write(coefs, intercepts)
        module = FeedForwardModule(parameters.weights, parameters.biases, network, between)
        module.load_extras(modules)
        net = FeedForwardNet(module, Criterion(loss), SGD, parameters).initialize()
        net.history.extend({**record, "batches": []} for record in history)
        return net


def plain_records(history: list[dict[str, Any]], n_before: int) -> list[dict[str, Any]]:
    """skorch's history as plain records, numbered on from those before."""
    return [
        {**{k: v for k, v in record.items() if k != "batches"}, "epoch": n}
        for n, record in enumerate(history, n_before + 1)
    ]
