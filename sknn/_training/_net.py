"""The skorch net, with its epochs, events and history.

skorch runs the epochs and notifies the callbacks. This module overrides only where the data comes
from and how one epoch runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import skorch
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback, EpochTimer
from skorch.dataset import unpack_data
from skorch.history import History
from skorch.utils import is_dataset
from torch import nn

from sknn._data._batches import Batch
from sknn._network._losses import Criterion
from sknn._network._module import Ensemble, FeedForwardModule, modules_between, network_module
from sknn._network._parameters import Checkpoint, FlatParameters
from sknn._network._solvers import SGD
from sknn._platform._torch_settings import default_settings
from sknn._platform._user_code import blamed_on
from sknn._training._callbacks import is_listening, is_raised_by_statement
from sknn._training._epoch import Trainer
from sknn._training._stopping import Progress, StopTraining

_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class EpochHistory(History):
    """skorch's history, but looking up the row of one epoch does not copy all rows."""

    def __getitem__(self, i):
        return list.__getitem__(self, i) if isinstance(i, int) else super().__getitem__(i)


class FeedForwardNet(skorch.NeuralNet):
    """A `skorch.NeuralNet` over one flat vector of parameters.

    The net learns from the rows of its trainer; the data sets are only shown to callbacks. It
    answers as skorch's NeuralNetClassifier and NeuralNetRegressor do: `predict`, `predict_proba`
    and `score` give what the estimator's methods give, in the user's own labels, while `forward`,
    `forward_iter` and `infer` give raw outputs, before the output activation. The answers follow
    the weights of `module_`. If these are changed, for instance by `load_params`, the answers
    change too.

    Parameters
    ----------
    module : FeedForwardModule or Ensemble
        The module whose parameters are views of `parameters`.
    criterion : Criterion
        The loss.
    optimizer : callable
        Function that takes `parameters` and returns the `torch.optim.Optimizer`.
    parameters : FlatParameters
        The parameters of the network.
    estimator_now : callable
        Function of the net that returns an estimator with the network as it is now.
    trainer : Trainer, default=None
        The trainer that runs the epochs. A net without one only predicts.
    progress : Progress, default=None
        The values that the rules remember.
    datasets : tuple of (Dataset, Dataset or None), default=None
        Training and validation rows with their targets, for the user's callbacks; None if the user
        has given no callbacks.
    rules : pair of lists of skorch.callbacks.Callback, default=((), ())
        Callbacks that run before the user's callbacks, and callbacks that run after them.
    processes : Processes, default=None
        The processes that train this network together.
    callbacks : list, default=None
        The user's callbacks.
    max_epochs, batch_size, verbose, device
        Parameters of `skorch.NeuralNet`.

    Attributes
    ----------
    user_callbacks : list of (str, skorch.callbacks.Callback)
        The initialized `callbacks`.
    records_ : list of dict
        The rows of `history`. They stay here if a callback replaces the history of the net.
    record_ : dict
        The last epoch's row of `history`: `epoch`, `train_loss`, `train_loss_best`, `dur`, and with
        validation rows `valid_score`, `valid_loss`, `valid_loss_best`.
    interrupted_ : bool
        Whether the user's Ctrl-C ended the epochs.
    has_ended_ : bool
        Whether the epochs have ended. skorch swallows a Ctrl-C that comes just before them.
    best_ : Checkpoint or None
        The parameters of the best validation score; None without early stopping.
    stopped_ : StopTraining or None
        The exception that ended the epochs before `max_epochs`, if one did.
    """

    def __init__(
        self,
        module: FeedForwardModule | Ensemble,
        criterion: Criterion,
        optimizer: Callable[[FlatParameters], torch.optim.Optimizer],
        parameters: FlatParameters,
        estimator_now: Callable[[FeedForwardNet], Any],
        trainer: Trainer | None = None,
        progress: Progress | None = None,
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
            # Scoring callbacks predict from the rows, so the outputs of batches need not be kept.
            use_caching=False,
            # skorch's ProgressBar reads this number to count the batches.
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
        self.interrupted_ = self.has_ended_ = False
        self.is_asked_to_stop_ = False
        self.stopped_: StopTraining | None = None
        self.best_: Checkpoint | None = None

    def __setattr__(self, name, attr):
        """Set an attribute, and let skorch register it if it is a module or an optimizer.

        skorch looks for more than that, which takes 2 us, for each of 60 attributes of a net.
        """
        if isinstance(attr, (nn.Module, torch.optim.Optimizer)):
            super().__setattr__(name, attr)
        else:
            object.__setattr__(self, name, attr)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize(self):
        """Initialize the parts of the net.

        skorch looks for parameters of each part, moves modules to the device where they are, and
        registers all this. Only callbacks of the user can make use of it.
        """
        if self.trainer is None or self.callbacks:
            return super().initialize()
        self.initialize_callbacks()
        optimizer = self.optimizer(self.parameters)
        vars(self).update(module_=self.module, criterion_=self.criterion, optimizer_=optimizer)
        self.initialize_history()
        self.initialized_ = True
        return self

    def initialize_module(self):
        """Keep the module as it is, because its parameters are views of the flat vector."""
        self.module_ = self.module
        return self

    def initialize_criterion(self):
        """Keep the criterion as it is."""
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any):
        """Give the optimizer the flat vector instead of the module's parameters."""
        self.optimizer_ = self.optimizer(self.parameters)
        return self

    def initialize_history(self):
        super().initialize_history()
        self.records_ = self.history_
        return self

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return two data sets without a split, because the estimator has drawn it already."""
        if self.trainer is None:
            return super().get_split_datasets(X, y, **fit_params)
        return (self.trainer, self.trainer.validate) if self.datasets is None else self.datasets

    def get_iterator(self, dataset, training=False):
        """Return the trainer, which has its own batches, or skorch's iterator for callbacks."""
        if self.trainer is None or (self.datasets is not None and not training):
            loader = super().get_iterator(dataset, training=training)
            # Each pass draws a seed for its workers. A generator of its own keeps the loader from
            # drawing it from torch's global one.
            if not training and getattr(loader, "generator", False) is None:
                loader.generator = torch.Generator()
            return loader
        return self.trainer

    def initialize_callbacks(self):
        with blamed_on("The 'callbacks' parameter"):
            super().initialize_callbacks()
        before, after = ([(type(rule).__name__, rule) for rule in part] for part in self.rules)
        timer, *users = self.callbacks_
        self.callbacks_ = [timer, *before, *users, *after]
        self.user_callbacks = users
        self._listeners = {}
        self._has_batch_events = any(map(self._listening, _BATCH_EVENTS))
        return self

    def _listening(self, event: str) -> list[Callable[..., None]]:
        """Return the methods of the callbacks that handle an event."""
        users = [callback for _, callback in self.user_callbacks]
        return [
            _listener_of_the_user(c, event) if c in users else getattr(c, event)
            for _, c in self.callbacks_
            if is_listening(c, event)
        ]

    def notify(self, method_name, **cb_kwargs):
        """Notify as skorch does, but skip the methods that a callback does not override."""
        if method_name not in self._listeners:
            self._listeners[method_name] = self._listening(method_name)
        getattr(self, method_name)(self, **cb_kwargs)
        for listener in self._listeners[method_name]:
            listener(self, **cb_kwargs)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs) -> None:
        """Begin the epoch's row of the history, as skorch does, and keep it in `record_`."""
        record = {"batches": [], "epoch": len(self.history_) + 1}
        self.history_.append(record)
        self.record_ = record

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params) -> None:
        """Run one pass over the batches, or evaluate the validation rows."""
        if self.trainer is None:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        elif not training:
            if iterator is not None and self.trainer.validate is not None:
                self._validate()
        elif self.datasets is None:
            self.record_["train_loss"] = self.trainer.epoch()
        else:
            # The modes are set for the epoch only, not for the whole fit: the user's callbacks may
            # want to differentiate and to predict.
            self.module_.train()
            with self.trainer.grad_mode():
                loss = self.trainer.epoch(self._announced_step if self._has_batch_events else None)
            self.module_.eval()
            self.record_["train_loss"] = loss
            if not self._has_batch_events:  # skorch's Checkpoint looks for a last batch
                self.record_["batches"].append({"train_batch_size": self.batch_size})

    def _announced_step(self, batch: Batch) -> None:
        """Train on a batch and notify the callbacks, for which the loss of the batch is read."""
        trainer = self.trainer
        rows = trainer.batches.row_numbers(batch)
        X, y = trainer.rows[rows], trainer.labels[rows]
        slot = trainer.meter.slot(batch)
        self.notify("on_batch_begin", batch=(X, y), training=True)
        self.module_.train()  # a callback may have changed the mode
        trainer.step(batch, slot)
        named_parameters = list(self.module_.named_parameters())
        self.notify(
            "on_grad_computed", named_parameters=named_parameters, batch=(X, y), training=True
        )
        trainer.update()
        loss = trainer.meter.batch_loss(batch, slot)
        self.record_["batches"][-1].update(train_loss=loss, train_batch_size=len(y))
        self.notify("on_batch_end", batch=(X, y), training=True, loss=loss, y_pred=None)

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
        """Run skorch's epochs, and tell a stop by a rule from the user's Ctrl-C."""
        # The mode is entered once, because each entry slows the operations that follow it by 10 us
        # in total.
        is_once = self.trainer is not None and self.datasets is None
        try:
            with self.trainer.grad_mode() if is_once else nullcontext():
                super().fit_loop(X, y, epochs, **fit_params)
        except StopTraining as stop:
            self.stopped_ = stop.with_traceback(None)  # the frames would hold this net
            if stop.is_amid_epoch:
                self._back_to_saved_epoch()
        except KeyboardInterrupt:
            self.interrupted_ = True
            self._back_to_saved_epoch()
        self.has_ended_ = True
        return self

    @property
    def classes_(self) -> np.ndarray:
        """Return the labels of the classifier."""
        return self.estimator_now(self).classes_

    def __sklearn_tags__(self):
        return self.estimator_now(self).__sklearn_tags__()

    def predict(self, X):
        """Return the estimator's predictions: labels of a classifier, targets of a regressor.

        Parameters
        ----------
        X : array-like, sparse matrix, tensor, frame, torch.utils.data.Dataset or SliceDataset
            Rows to predict for.
        """
        return self.estimator_now(self).predict(self._rows(X))

    def predict_proba(self, X):
        """Return the probabilities of the classes, or what `predict` returns for a regressor.

        skorch's NeuralNetRegressor returns its predictions here, too.
        """
        estimator = self.estimator_now(self)
        return getattr(estimator, "predict_proba", estimator.predict)(self._rows(X))

    def score(self, X, y, sample_weight=None):
        """Return the estimator's score: the accuracy, R2, or the D2 pinball score of quantiles."""
        return self.estimator_now(self).score(self._rows(X), y, sample_weight)

    def _rows(self, X):
        """Return the rows of a data set as one tensor, and any others as they are."""
        from skorch.helper import SliceDataset

        if not (is_dataset(X) or isinstance(X, SliceDataset)):
            return X
        batches = self.get_iterator(self.get_dataset(X), training=False)
        return torch.cat([unpack_data(batch)[0] for batch in batches])

    def __getstate__(self):
        if self.trainer is not None:
            raise TypeError(
                "The net of a running fit cannot be pickled. Pickle the fitted estimator instead."
                " In skorch's Checkpoint, leave f_pickle=None."
            )
        return super().__getstate__()

    def is_finite(self) -> bool:
        """Return whether all parameters are finite."""
        return bool(torch.isfinite(self.parameters.storage[0]).all())

    def remember_best(self) -> None:
        """Keep a copy of the parameters as the best so far, those of the last epoch."""
        self.best_ = self.parameters.checkpoint()
        self.progress.best_epoch = len(self.progress.loss_curve)

    def ask_to_stop(self) -> None:
        """End training after all callbacks have handled the end of this epoch."""
        self.is_asked_to_stop_ = True

    def save_epoch(self) -> None:
        """Keep a copy of everything that the next epoch will change."""
        self.trainer.save()
        self._saved = (len(self.history), self.progress.mark(), self.best_)

    def _back_to_saved_epoch(self) -> None:
        n_epochs, mark, best = self._saved
        del self.history[n_epochs:]
        self.trainer.revert()
        self.progress.rewind(mark)
        self.best_ = best


def _listener_of_the_user(callback: Callback, event: str) -> Callable[..., None]:
    """Return a method of a user's callback that can end training without looking like a Ctrl-C.

    skorch's callbacks end training by raising a KeyboardInterrupt. If one does so in the middle of
    an epoch, training ends with the epoch before. Outside the epochs, the exception counts as the
    user's Ctrl-C, as in skorch. Errors name the callback.
    """
    listener = getattr(callback, event)
    is_outside = event in ("on_train_begin", "on_train_end")
    where = f"The 'callbacks' parameter contains a {type(callback).__name__}, whose {event}"

    def listen(net: FeedForwardNet, **kwargs: Any) -> None:
        try:
            with blamed_on(where):
                listener(net, **kwargs)
        except KeyboardInterrupt as interrupt:
            if is_outside or not is_raised_by_statement(interrupt):
                raise
            if event != "on_epoch_end" and not net.processes.is_group:
                raise StopTraining(is_amid_epoch=True) from None
            net.ask_to_stop()

    return listen


def net_of(estimator: BaseEstimator) -> FeedForwardNet:
    """Return the skorch net of a fitted estimator, with its own copy of the weights, on the CPU."""
    network = estimator._fitted_network()
    with default_settings(torch.device("cpu")):
        between = modules_between(network)
        parameters = FlatParameters(
            network.linear_units,
            SGD.n_slots,
            dtype=torch.float32 if estimator._model_dtype() is np.float32 else torch.float64,
            modules=between.all(),
            n_shared=between.n_shared,
            n_members=network.n_members,
        )
        parameters.write(estimator.coefs_, estimator.intercepts_)
        weights, biases, average = parameters.weights, parameters.biases, estimator._average()
        module = network_module(weights, biases, network, average, between).eval()
        module.load_extras(estimator.module_state_)
        criterion = Criterion(estimator._make_loss(smoothed=True))
        now = partial(_with_module_of, estimator._copy())
        net = FeedForwardNet(module, criterion, SGD, parameters, now).initialize()
        net.history.extend({**record, "batches": []} for record in estimator._history)
        return net


def _with_module_of(estimator: BaseEstimator, net: FeedForwardNet) -> BaseEstimator:
    """Return a copy of an estimator with the weights that the module of a net has now."""
    layers = net.module_.linear_layers()
    now = estimator._copy()
    vars(now).update(
        coefs_=_by_layer([layer.weight.detach().cpu().numpy().T for layer in layers], estimator),
        intercepts_=_by_layer([layer.bias.detach().cpu().numpy() for layer in layers], estimator),
        module_state_={name: t.cpu().numpy() for name, t in net.module_.extras().items()},
        device_="cpu",
    )
    return now


def _by_layer(arrays: list[np.ndarray], estimator: BaseEstimator) -> list[np.ndarray]:
    """Return arrays of layers as they are, or, of several members, those of each layer in one."""
    k = estimator._fitted_members()
    return arrays if k == 1 else [np.stack(arrays[i : i + k]) for i in range(0, len(arrays), k)]


def plain_records(history: list[dict[str, Any]], n_before: int) -> list[dict[str, Any]]:
    """Return skorch's history as plain dicts, with epochs numbered from `n_before` + 1."""
    return [
        {**{k: v for k, v in record.items() if k != "batches"}, "epoch": n}
        for n, record in enumerate(history, n_before + 1)
    ]
