"""The part of an estimator that a fit leaves: a network that predicts and can be exported.

torch is imported where it is needed, and never by importing this module.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sknn._files._plain_values import canonical
from sknn._input import _parameter_checks, _targets
from sknn._input._data_checks import check_rows_to_predict
from sknn._platform import _sklearn_compat
from sknn._platform._memory_alignment import aligned
from sknn._training._fitted_names import (
    FITTED_NAMES,
    NAMED,
    STOCHASTIC,
    complete_attributes,
    names_set_by,
    with_later_names,
    without_durations,
)

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from torch import nn
    from torch.fx import GraphModule

    from sknn._network._architecture import Network
    from sknn._training._net import FeedForwardNet

# Properties that copy the weights and import torch, and are not stored attributes.
_MADE_WHEN_READ = ("net_", "module_")
HOOKS_OF_SKL2ONNX = ("onnx_parser", "onnx_shape_calculator", "onnx_converter")


class FittedNetwork(BaseEstimator):
    """An estimator that holds a network: it predicts, describes itself, and can be exported.

    Half of the class is the documentation of its public methods. Their work is done in the rooms of
    exports and displays.

    Subclasses train the network. They hand its attributes over in one assignment, so that a
    prediction in another thread sees the old model or the new one, never a mixture.
    """

    _parameter_constraints: ClassVar[dict]

    def _snapshot(self):
        """Return an estimator that keeps this one's attributes as they are at this moment.

        The two share the dictionary of attributes. A fit in another thread leaves it as it is, and
        gives the estimator another one (`_take_over`).
        """
        if self._has_weights_set_by_hand():
            return self._completed()
        snapshot = object.__new__(type(self))
        object.__setattr__(snapshot, "__dict__", vars(self))
        return snapshot

    def _has_weights_set_by_hand(self) -> bool:
        """Return whether there are weights without a fit, which leaves a `_history`."""
        return "_history" not in vars(self) and "coefs_" in vars(self)

    def _completed(self):
        """Return a copy that has all attributes of a fit, although weights were set by hand."""
        completed = self._copy()
        complete_attributes(completed)
        if not hasattr(completed, "out_activation_"):
            raise _targets.classes_are_missing(self)
        return completed

    def _copy(self):
        """Return an estimator with the same attributes in a dictionary of its own."""
        copied = object.__new__(type(self))
        object.__setattr__(copied, "__dict__", vars(self).copy())
        return copied

    def _take_over(self, trained) -> None:
        """Take over the fitted attributes of a trained copy, in one assignment.

        Parameters, and attributes that the copy does not know, stay as they are: they may have been
        set in the meantime.
        """
        attributes = vars(self).copy()
        for name, value in vars(trained).items():
            if name not in self._parameter_constraints:
                attributes[name] = value
        for name in names_set_by(STOCHASTIC, NAMED):
            if name not in vars(trained):
                attributes.pop(name, None)
        object.__setattr__(self, "__dict__", attributes)

    def _model_dtype(self) -> type:
        """Return the dtype of the fitted weights: float64 unless they are float32."""
        return np.float32 if np.asarray(self.coefs_[0]).dtype == np.float32 else np.float64

    def _layer_units(self) -> tuple[int, ...]:
        """Return the numbers of features and of units in each layer of the fitted network."""
        return (self.n_features_in_, *(n for i in self.intercepts_ for n in np.shape(i)[-1:]))

    def _fitted_network(self) -> Network:
        """Return the layers of the fitted network, with its numbers of units and members."""
        state = getattr(self, "module_state_", {})
        columns = tuple(map(int, state.get("embedding.columns", ())))
        return self._network(self._layer_units(), self._fitted_members(), columns)

    def _fitted_members(self) -> int:
        """Return the number of members of the fitted network."""
        shape = np.shape(self.coefs_[0])
        return shape[0] if len(shape) == 3 else 1

    def _n_levels(self) -> int:
        """Return the number of outputs that belong together and are sorted in prediction."""
        return 1

    def _output_scaling(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the mean and the scale of the outputs in training, if there are any."""
        return None

    def _output_bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the smallest and the largest prediction of each output, if they are limited."""
        return None

    def _average(self) -> Callable:
        """Return the function from raw outputs of members to those of their mean."""
        from sknn._network._losses import average_of

        return average_of(self.out_activation_, self._n_levels())

    def _embedding_parameters(self) -> dict[str, Any]:
        """Return the parameters of the embedding; empty if there is none."""
        if self.numeric_embedding is None:
            return {}
        from sknn._input._periodic_embedding import PeriodicEmbedding

        is_name = isinstance(self.numeric_embedding, str)
        return (PeriodicEmbedding() if is_name else self.numeric_embedding).get_params()

    def _network(
        self, layer_units: tuple[int, ...], n_members: int, columns: tuple[int, ...] = ()
    ) -> Network:
        """Return the layers that the parameters describe, with these numbers.

        `columns` are the numbers of the columns that are embedded.
        """
        from sknn._network._architecture import Network, Periodic

        n_hidden = len(layer_units) - 2
        embedding = None
        if columns and self.numeric_embedding is not None:
            of = self._embedding_parameters()
            embedding = Periodic(columns, int(of["n_frequencies"]), int(of["size"]))
        return Network(
            layer_units,
            _parameter_checks.layer_activations(self.activation, n_hidden),
            self.normalization,
            _parameter_checks.dropout_rates(self.dropout, n_hidden),
            float(self.input_dropout),
            int(n_members),
            embedding,
            bool(self.input_scaling),
        )

    def _outputs(self, X, transform: Callable) -> np.ndarray:
        """Return the outputs for rows, after a transform from `sknn._network._inference`.

        This is called on a `_snapshot`. `transform` takes the name of the output activation, and
        returns a function of the raw outputs.
        """
        if not hasattr(self, "coefs_"):
            check_is_fitted(self, "coefs_")
        from sknn._network._inference import (
            Layers,
            are_few,
            forward_of,
            outputs_of,
            outputs_of_few,
        )
        from sknn._platform._compat import as_tensor
        from sknn._platform._devices import is_present

        dtype = self._model_dtype()
        device = self.device_ if is_present(self.device_) else "cpu"
        X = check_rows_to_predict(self, X, dtype, device)
        network = self._fitted_network()
        self._check_weights(network)

        average, outputs = self._average(), transform(self.out_activation_)
        is_usual = network.is_plain and not self.module_state_
        # A stack of matrices gets one layout, because the rounding of products depends on it, and a
        # pickle does not keep it.
        order = "K" if network.n_members == 1 else "C"
        coefs = [aligned(np.asarray(coef, dtype, order)) for coef in self.coefs_]
        biases = [np.asarray(intercept, dtype) for intercept in self.intercepts_]
        if is_usual and are_few(X, network, device, np.dtype(dtype)):
            return outputs_of_few(X, coefs, biases, network.activations, average, outputs)

        def parameters() -> tuple[list, list]:
            weights = [as_tensor(coef.swapaxes(-1, -2)).to(device) for coef in coefs]
            return weights, [as_tensor(bias).to(device) for bias in biases]

        if is_usual:
            forward = Layers(*parameters(), network.activations, average)
            return outputs_of(X, forward, outputs)
        from sknn._platform._torch_settings import default_settings

        with default_settings(device):
            forward = forward_of(*parameters(), self.module_state_, network, average)
            return outputs_of(X, forward, outputs)

    def _check_weights(self, network: Network) -> None:
        """Refuse `coefs_` and `intercepts_` whose shapes do not fit the layers of a network."""
        units, leading = network.linear_units, network.leading
        embedding = ""
        if self.numeric_embedding is not None or "embedding.columns" in self.module_state_:
            embedding = f"numeric_embedding={self.numeric_embedding!r}, "
        expected = (
            ("coefs_", self.coefs_, [(*leading, *shape) for shape in pairwise(units)]),
            ("intercepts_", self.intercepts_, [(*leading, n_out) for n_out in units[1:]]),
        )
        for name, arrays, shapes in expected:
            there = [np.shape(array) for array in arrays]
            if there != shapes:
                raise ValueError(
                    f"The fitted model has {name} of shapes {there}, but the number of"
                    f" features, hidden_layer_sizes={self.hidden_layer_sizes},"
                    f" {embedding}n_members={network.n_members} and intercepts_ require {shapes}."
                    " Restore the values from the last fit, or fit again with warm_start=False."
                )

    @property
    def net_(self) -> FeedForwardNet:
        """The model as a skorch net, for inspection. Each access creates a new net.

        Returns
        -------
        FeedForwardNet
            A net with a copy of the weights in `module_` and the training history in `history`.
            `predict`, `predict_proba` and `score` return the same results as the methods of the
            estimator. For a regressor, `predict_proba` is the same as `predict`, as in skorch.
            `forward` and `infer` return raw outputs, before the output activation. If you change
            the weights of the net's `module_`, the results of this net change, but the estimator
            and the nets of later accesses do not.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "coefs_")
        from sknn._platform._threads import threads_for
        from sknn._training._net import net_of

        with threads_for(0.0):
            return net_of(self._snapshot())

    @property
    def module_(self) -> nn.Sequential | GraphModule:
        """The network as an ordinary torch module. Each access creates a new module.

        Returns
        -------
        torch.nn.Sequential, or torch.fx.GraphModule for several members
            A module in eval mode and on the CPU. Its parameters are a copy of the weights and have
            the same dtype. It consists of modules from :mod:`torch.nn` and of those that your
            `activation` returns: `linear0`, `normalization0`, `activation0`, `dropout0`, `linear1`
            and so on. It maps an input of shape (n_samples, n_features) to raw outputs of shape
            (n_samples, n_outputs), before the output activation that is named in
            `out_activation_`. If there are several members, they are modules named `0`, `1` and so
            on. The raw outputs are then those of the ensemble: applying the output activation to
            them gives the mean of the members' predictions.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "coefs_")
        import torch

        from sknn._exports._standalone_module import standalone_module

        now = self._snapshot()
        network = now._fitted_network()
        now._check_weights(network)
        return standalone_module(
            now.coefs_,
            now.intercepts_,
            now.module_state_,
            network,
            now._average(),
            torch.float32 if now._model_dtype() is np.float32 else torch.float64,
        )

    def _checked_network(self) -> Network:
        """Return the layers, after a check that the fitted attributes are those of such layers.

        Raises
        ------
        ValueError
            If weights, or the state of modules, have other names or shapes.
        """
        network = self._fitted_network()
        self._check_weights(network)
        if self.module_state_ or not network.is_plain:
            from sknn._exports._standalone_module import check_module_state

            check_module_state(self.module_state_, network)
        return network

    def summary(self) -> str:
        """Describe the network as text: its layers, its settings and the results of training.

        Returns
        -------
        str
            A table of the layers with their shapes, activations, normalization, dropout and numbers
            of parameters, followed by the loss, solver, device, dtype and epochs. For a fitted
            estimator, the last losses and scores follow. Before `fit`, values that depend on the
            data are shown as a question mark.

        Raises
        ------
        ValueError, TypeError
            If a parameter that is shown is invalid, or if the parameters do not describe a network.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sknn import FeedForwardClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = FeedForwardClassifier(
        ...     (50, 20), activation=["relu", "tanh"], dropout=[0.1, 0.0], early_stopping=True,
        ...     max_iter=300, random_state=0,
        ... )
        >>> print(clf.summary())
        FeedForwardClassifier, not fitted: ? is known after fit
        ------------------------------------------------------------------
        layer     shape     activation  normalization  dropout  parameters
        ------------------------------------------------------------------
        input     ?         -           -              -                 -
        hidden 1  ? -> 50   relu        -              0.1               ?
        hidden 2  50 -> 20  tanh        -              -             1,020
        output    20 -> ?   ?           -              -                 ?
        ------------------------------------------------------------------
        total                                                            ?
        ------------------------------------------------------------------
        loss    log_loss
        solver  adam
        device  cpu
        dtype   auto
        epochs  at most 300
        >>> print(clf.fit(X, y).summary())
        FeedForwardClassifier, fitted
        ------------------------------------------------------------------
        layer     shape     activation  normalization  dropout  parameters
        ------------------------------------------------------------------
        input     64        -           -              -                 -
        hidden 1  64 -> 50  relu        -              0.1           3,250
        hidden 2  50 -> 20  tanh        -              -             1,020
        output    20 -> 10  softmax     -              -               210
        ------------------------------------------------------------------
        total                                                        4,480
        ------------------------------------------------------------------
        loss              log_loss
        solver            adam
        device            cpu
        dtype             float64
        epochs            ...; the weights are those of epoch ...
        training loss     ...; in epoch ...
        validation loss   ...; in epoch ...
        validation score  ...; in epoch ...
        """
        from sknn._display._summary import facts_of, text_of

        return text_of(facts_of(self))

    def save(self, path: str | os.PathLike) -> None:
        """Save the estimator, fitted or not, to a file that :func:`sknn.load` can read.

        The file has the safetensors format. It contains no code, so files from untrusted sources
        are safe to load. A checksum detects damaged files. See docs/persistence.md.

        Parameters
        ----------
        path : str or os.PathLike
            Path of the file. An existing file is only replaced after the new one has been written
            completely. If writing fails, the old file is kept.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If a parameter or an attribute is a function, a class, a callback or another object that
            cannot be stored without code. The message lists all of them.

        Notes
        -----
        The file does not contain `checkpoint_dir`, which is only valid on this machine, a group
        object in `process_group`, `callbacks_`, the state of torch optimizers and schedulers, or
        the durations of epochs. Equal models are saved as equal bytes.
        """
        from sknn._exports._saved import save

        save(self._snapshot(), path)

    def to_sklearn(self) -> MLPClassifier | MLPRegressor:
        """Convert to a fitted scikit-learn estimator with the same predictions.

        Returns
        -------
        MLPClassifier or MLPRegressor
            An estimator with copies of the weights and of everything else that exists in
            scikit-learn: parameters, fitted attributes, and the state of the solvers 'adam' and
            'sgd', so that `partial_fit` continues as it would here. Batch normalization is merged
            into the weights.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If scikit-learn cannot represent the network. The message lists all reasons.

        Notes
        -----
        Parameters that exist only in this package and do not affect predictions are omitted. They
        are listed in docs/elsewhere.md.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sknn import FeedForwardClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = FeedForwardClassifier(max_iter=1000, random_state=0).fit(X, y)
        >>> mlp = clf.to_sklearn()
        >>> type(mlp).__name__
        'MLPClassifier'
        >>> bool((mlp.predict(X) == clf.predict(X)).all())
        True
        """
        check_is_fitted(self, "coefs_")
        from sknn._exports._sklearn_exchange import to_sklearn

        return to_sklearn(self._snapshot())

    # skl2onnx looks for these three methods by `hasattr`. Nobody else calls them, so `dir` and the
    # reference leave them out.

    def onnx_parser(self) -> Callable:
        """Return the function that tells skl2onnx which outputs the network has."""
        from sknn._exports._onnx import parser_of

        return parser_of(self)

    def onnx_shape_calculator(self) -> Callable:
        """Return the function that tells skl2onnx the shapes of the network's outputs."""
        from sknn._exports._onnx import set_shapes

        return set_shapes

    def onnx_converter(self) -> Callable:
        """Return the function that writes the network in ONNX."""
        from sknn._exports._onnx import convert

        return convert

    def __dir__(self) -> list[str]:
        # scikit-learn 1.9 reads every attribute to find out whether it can be read. A press of the
        # tab key would wait for two copies of the weights.
        made = _MADE_WHEN_READ if hasattr(self, "coefs_") else ()
        names = set(object.__dir__(self)).difference(_MADE_WHEN_READ, HOOKS_OF_SKL2ONNX)
        return [*made, *(name for name in names if hasattr(self, name))]

    # scikit-learn asks for these when it draws a diagram: from version 1.7 on for a table of the
    # parameters, from 1.9 on for one of the fitted attributes, and for the block of the estimator.
    # None of the names is public. A version with other names draws its plain box.

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        from sknn._display._html import network_html

        table = super()._get_params_html(*args, **kwargs)
        return _sklearn_compat.with_html_before(table, partial(network_html, self))

    @available_if(lambda self: _sklearn_compat.has_table_of_attributes())
    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        stored = _sklearn_compat.StoredAttributes(self._copy())
        return BaseEstimator._get_fitted_attr_html(stored, *args, **kwargs)

    @available_if(lambda self: _sklearn_compat.has_captions())
    def _sk_visual_block_(self) -> Any:
        from sknn._display._html import caption_of

        return _sklearn_compat.captioned_block(self, caption_of(self))

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle, joblib and files of `save` keep: the same bytes for equal models."""
        state = dict(super().__getstate__())
        if not isinstance(state.get("process_group"), str):
            state["process_group"] = None  # a group belongs to this process alone
        if "_label_binarizer" in state:  # the object of scikit-learn belongs to one version
            state["_label_binarizer"] = _targets.plain_binarizer(state["_label_binarizer"])
        if "_history" in state:
            state["_history"] = without_durations(state["_history"])
        if state.get("callbacks_"):
            from sknn._training._callbacks import without_clocks

            state["callbacks_"] = without_clocks(state["callbacks_"])
        # Attributes of the user's own stay the same objects.
        own = {*self._parameter_constraints, *(fitted.name for fitted in FITTED_NAMES)}
        strings: dict[str, str] = {}
        try:
            return {
                canonical(name, strings): canonical(value, strings) if name in own else value
                for name, value in sorted(state.items())
            }
        except RecursionError:  # A value holds itself, which pickle supports.
            return state

    def _defaults_of_parameters_beyond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the defaults of the parameters that were added since a pickle was made."""
        # A subclass of the user may have another constructor. This finds ours.
        (kind,) = (kind for kind in type(self).__mro__ if "_name_in_files" in vars(kind))
        added = sorted(kind._parameter_constraints.keys() - state.keys())
        if not added:
            return {}
        parameters = inspect.signature(kind.__init__).parameters
        return {name: parameters[name].default for name in added}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_label_binarizer"), dict):
            binarizer = _targets.binarizer_of(**state["_label_binarizer"])
            state = {**state, "_label_binarizer": binarizer}
        state = with_later_names(state)
        if "coefs_" in state:  # Memory maps are left as they are.
            coefs = [aligned(c) if type(c) is np.ndarray else c for c in state["coefs_"]]
            state = {**state, "coefs_": coefs}
        super().__setstate__({**state, **self._defaults_of_parameters_beyond(state)})
        if getattr(self, "device_", "cpu") != "cpu":
            from sknn._platform._devices import is_present

            if not is_present(self.device_):
                self.device_ = "cpu"
