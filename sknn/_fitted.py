"""What a fitted estimator holds: attributes from training, for the next one and for predictions."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sknn._input import _frames, _parameter_checks, _targets
from sknn._input._memory_maps import check_mapped, must_convert
from sknn._input._tensors import check_there, is_tensor, rows_of
from sknn._platform._alignment import aligned

if TYPE_CHECKING:
    from sknn._training._net import FeedForwardNet
    from sknn._training._problem import Network, Problem, State

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Values of an array whose validation, beside the network's work, is worth saving.
_SHORT = 10_000
# Of the fitted attributes, those that only a stochastic solver sets.
STOCHASTIC_ATTRIBUTES = {
    "loss_curve_": "loss_curve",
    "learning_rate_curve_": "learning_rate_curve",
    "validation_scores_": "validation_scores",
    "validation_loss_curve_": "validation_loss_curve",
    "best_loss_": "best_loss",
    "best_validation_score_": "best_validation_score",
    "_no_improvement_count": "no_improvement_count",
    "_watched": "watched",
}


class FittedNetwork:
    """The part of an estimator that holds a network."""

    def _network(self, layer_units: tuple[int, ...]) -> Network:
        """What the parameters say of the layers."""
        from sknn._training._problem import Network

        n_hidden = len(layer_units) - 2
        return Network(
            layer_units,
            _parameter_checks.layer_activations(self.activation, n_hidden),
            self.normalization,
            _parameter_checks.dropout_rates(self.dropout, n_hidden),
            float(self.input_dropout),
        )

    def _state(self, network, random_state, first_pass, dtype) -> State:
        """Where training starts: new weights, or the model that is there."""
        from sknn._network._module import initial_parameters
        from sknn._training._problem import State
        from sknn._training._stopping import Progress

        if first_pass:
            activations = (
                self.activation if isinstance(self.activation, str) else network.activations
            )
            return State(*initial_parameters(network.layer_units, activations, random_state, dtype))
        self._check_weights(network.layer_units)
        progress = {
            name: getattr(self, attribute)
            for attribute, name in STOCHASTIC_ATTRIBUTES.items()
            if hasattr(self, attribute)
        }
        return State(
            self.coefs_,
            self.intercepts_,
            self.module_state_,
            getattr(self, "_solver_state", None),
            Progress(**progress, n_samples_seen=getattr(self, "t_", 0)),
            getattr(self, "_history", []),
            loss=getattr(self, "loss_", np.nan),
        )

    def _publish(self, state: State, problem: Problem) -> None:
        """Set the fitted attributes."""
        for name in (*STOCHASTIC_ATTRIBUTES, "_solver_state"):
            vars(self).pop(name, None)
        if state.solver is not None:
            for attribute, name in STOCHASTIC_ATTRIBUTES.items():
                setattr(self, attribute, getattr(state.progress, name))
            self._solver_state = state.solver
        self.coefs_ = [aligned(coef) for coef in state.coefs]
        self.intercepts_ = state.intercepts
        self.module_state_ = state.modules
        self.callbacks_ = state.callbacks
        self.loss_ = state.loss
        self.n_iter_ = state.n_iter
        self.t_ = state.progress.n_samples_seen
        self.n_layers_ = len(problem.network.layer_units)
        self.n_outputs_ = problem.network.layer_units[-1]
        self.out_activation_ = problem.loss.output_activation
        self.device_ = state.device
        self._history = state.history

    def _as_it_is(self):
        """This estimator as it is at this moment, whatever a fit in another thread makes of it.

        It shares the attributes: `_become` gives the estimator others, instead of changing them.
        """
        now = object.__new__(type(self))
        object.__setattr__(now, "__dict__", vars(self))
        return now

    def _become(self, trained) -> None:
        """Take over the attributes of a trained copy, in one assignment.

        Parameters, and what the copy does not know of, stay as they may have been set meanwhile.
        """
        attributes = vars(self).copy()
        for name, value in vars(trained).items():
            if name not in self._parameter_constraints:
                attributes[name] = value
        for name in (*STOCHASTIC_ATTRIBUTES, "_solver_state", "feature_names_in_"):
            if name not in vars(trained):
                attributes.pop(name, None)
        object.__setattr__(self, "__dict__", attributes)

    def _model_dtype(self) -> type:
        """The dtype of the weights that are there: float64 unless they are float32."""
        return np.float32 if np.asarray(self.coefs_[0]).dtype == np.float32 else np.float64

    def _outputs(self, X, of: Callable) -> np.ndarray:
        """What a function of `sknn._network._inference` makes of the network's outputs for rows.

        Called on what `_as_it_is` gives.
        """
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        from sknn._network._inference import Layers, forward_of, outputs_of
        from sknn._platform._compat import as_tensor
        from sknn._platform._devices import is_present

        dtype = self._model_dtype()
        device = self.device_ if is_present(self.device_) else "cpu"
        if not self._is_valid(X):
            X = self._checked_rows(X, dtype, device)
        units = (self.n_features_in_, *map(len, self.intercepts_))
        self._check_weights(units)

        def parameters() -> tuple[list, list]:
            weights = [
                as_tensor(aligned(np.asarray(coef, dtype).T)).to(device) for coef in self.coefs_
            ]
            biases = [as_tensor(np.asarray(i, dtype)).to(device) for i in self.intercepts_]
            return weights, biases

        # The usual network goes a shorter way, a tenth of the time of a call for one row.
        is_usual = self.normalization is None and isinstance(self.activation, str)
        if is_usual and not self.module_state_:
            forward = Layers(*parameters(), (self.activation,) * (len(units) - 2))
            return outputs_of(X, forward, of(self.out_activation_))
        from sknn._platform._torch_settings import usual_settings

        with usual_settings(device):
            forward = forward_of(*parameters(), self.module_state_, self._network(units))
            return outputs_of(X, forward, of(self.out_activation_))

    def _checked_rows(self, X, dtype: type, device: str):
        """Rows to predict for, as the network takes them: of any real dtype."""
        X = rows_of(_frames.as_rows(X, "X"), "X", device, [dtype])
        if is_tensor(X):
            check_there(self, X, "no_validation", None, reset=False)
        elif must_convert(X, _FLOATS):
            check_mapped(self, X, "no_validation", [dtype], reset=False)
        elif not self._is_valid(X):
            with _frames.naming_columns(X):
                checked = validate_data(self, X, accept_sparse="csr", reset=False)
                if checked.dtype == object:  # of a frame whose dtypes scikit-learn does not see
                    checked = check_array(checked, dtype=dtype, estimator=self, input_name="X")
            return checked
        return X

    def _is_valid(self, X) -> bool:
        """Whether scikit-learn's validation, half the time of a short call, would find nothing."""
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in _FLOATS
            and 0 < X.size <= _SHORT
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X).all())
        )

    def _check_weights(self, units: tuple[int, ...]) -> None:
        """Refuse `coefs_` and `intercepts_` whose shapes are not those of layers of these units."""
        expected = (
            ("coefs_", self.coefs_, list(pairwise(units))),
            ("intercepts_", self.intercepts_, [(n_out,) for n_out in units[1:]]),
        )
        for name, arrays, shapes in expected:
            there = [np.shape(array) for array in arrays]
            if there != shapes:
                raise ValueError(
                    f"The model that is there has {name} of shapes {there}, but the number of"
                    f" features, hidden_layer_sizes={self.hidden_layer_sizes} and intercepts_ ask"
                    f" for {shapes}. Keep them, or fit anew with warm_start=False."
                )

    @property
    def net_(self) -> FeedForwardNet:
        """The model as a skorch net, for reading: made anew on each access.

        Returns
        -------
        FeedForwardNet
            With a copy of the weights in `module_`, and the training history in `history`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before the first `fit`.
        """
        check_is_fitted(self)
        from sknn._platform._threads import threads_for
        from sknn._training._net import net_of

        now = self._as_it_is()
        with threads_for(0.0):
            return net_of(
                now.coefs_,
                now.intercepts_,
                now.module_state_,
                now._network((now.n_features_in_, *map(len, now.intercepts_))),
                now._make_loss(smoothed=True),
                now._history,
            )

    def save(self, path: str | os.PathLike) -> None:
        """Save the estimator, fitted or not, in a file that :func:`sknn.load` reads.

        The file is in the safetensors format. It holds no code, so that a file of a stranger may be
        loaded, and a checksum, so that a damaged one is refused. See docs/persistence.md.

        Parameters
        ----------
        path : str or os.PathLike
            The file, which is replaced as a whole: if this fails, what was there is there still.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If a parameter, or something that was set in another way, is a function, a class, a
            callback or another object that only code can make. All of it is named.

        Notes
        -----
        `checkpoint_dir`, a place on this machine, is not kept, nor are a group object in
        `process_group`, the `callbacks_`, and what an optimizer or a scheduler of torch remembers.

        .. versionadded:: 0.1
        """
        from sknn._exports._saved import save

        save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if not isinstance(state.get("process_group"), str):
            state["process_group"] = None  # a group is of this process alone
        if "_label_binarizer" in state:  # an object of scikit-learn, which belongs to a version
            state["_label_binarizer"] = _targets.plain_binarizer(state["_label_binarizer"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_label_binarizer"), dict):
            binarizer = _targets.binarizer_of(**state["_label_binarizer"])
            state = {**state, "_label_binarizer": binarizer}
        if "coefs_" in state:  # a memory map stays one
            coefs = [aligned(c) if type(c) is np.ndarray else c for c in state["coefs_"]]
            state = {**state, "coefs_": coefs}
        super().__setstate__(state)
        if getattr(self, "device_", "cpu") != "cpu":
            from sknn._platform._devices import is_present

            if not is_present(self.device_):
                self.device_ = "cpu"
