"""Ways for a fitted estimator to leave this package: scikit-learn, torch, ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from torch import nn

    from sknn._training._problem import Network


class Exports:
    """The part of an estimator by which others take over its network. See docs/elsewhere.md."""

    @property
    def module_(self) -> nn.Sequential:
        """The network as an ordinary torch module, made anew on each access.

        Returns
        -------
        torch.nn.Sequential
            In eval mode, on the CPU, in the dtype of the weights, with a copy of them as
            parameters. It holds modules of :mod:`torch.nn` only, and those that your `activation`
            makes: `linear0`, `normalization0`, `activation0`, `dropout0`, `linear1` and so on. Rows
            of shape (n_rows, n_features) become raw outputs of shape (n_rows, n_outputs), before
            the output activation that `out_activation_` names.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before the first `fit`.

        Notes
        -----
        .. versionadded:: 0.1
        """
        check_is_fitted(self)
        import torch

        from sknn._exports._standalone import standalone_module

        now = self._as_it_is()
        units = (now.n_features_in_, *map(len, now.intercepts_))
        now._check_weights(units)
        return standalone_module(
            now.coefs_,
            now.intercepts_,
            now.module_state_,
            now._network(units),
            torch.float32 if now._model_dtype() is np.float32 else torch.float64,
        )

    def _checked_network(self) -> Network:
        """What the layers are, once the attributes are known to be those of such layers.

        Raises
        ------
        ValueError
            If weights or what modules have learned are of other shapes or kinds.
        """
        network = self._network((self.n_features_in_, *map(len, self.intercepts_)))
        self._check_weights(network.layer_units)
        if self.module_state_ or not network.has_closed_form:
            _ = self.module_
        return network

    def to_sklearn(self) -> MLPClassifier | MLPRegressor:
        """Make scikit-learn's own estimator of this one, fitted, with the same predictions.

        Returns
        -------
        MLPClassifier or MLPRegressor
            With copies of the weights and of all that scikit-learn has too: parameters, fitted
            attributes, and what the solvers 'adam' and 'sgd' remember, so that `partial_fit` goes
            on as it would here. Batch normalization is part of its weights.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before the first `fit`.
        ValueError
            If scikit-learn cannot express the network. All that stands in the way is named.

        Notes
        -----
        Parameters that only this package has and that predictions do not depend on are left out.
        docs/elsewhere.md lists them.

        .. versionadded:: 0.1

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
        check_is_fitted(self)
        from sknn._exports._exchange import to_sklearn

        return to_sklearn(self._as_it_is())

    def onnx_parser(self) -> Callable:
        """Tell skl2onnx which outputs the network has. Called by skl2onnx.

        Returns
        -------
        callable
            `(scope, inputs)` to a list of variables of skl2onnx.

        Raises
        ------
        ImportError
            If skl2onnx is not installed.

        Notes
        -----
        .. versionadded:: 0.1
        """
        from sknn._exports._onnx import parser_of

        return parser_of(self)

    def onnx_shape_calculator(self) -> Callable:
        """Tell skl2onnx the shapes of the network's outputs. Called by skl2onnx.

        Returns
        -------
        callable
            Takes an operator of skl2onnx.

        Raises
        ------
        ImportError
            If skl2onnx is not installed.

        Notes
        -----
        .. versionadded:: 0.1
        """
        from sknn._exports._onnx import set_shapes

        return set_shapes

    def onnx_converter(self) -> Callable:
        """Tell skl2onnx how to write the network in ONNX. Called by skl2onnx.

        Returns
        -------
        callable
            Takes a scope, an operator and a container of skl2onnx.

        Raises
        ------
        ImportError
            If skl2onnx is not installed.

        Notes
        -----
        .. versionadded:: 0.1
        """
        from sknn._exports._onnx import convert

        return convert


def register_onnx() -> None:
    """Make the estimators known to skl2onnx, for ensembles and others that hold one.

    Where an estimator is converted by itself, in a `Pipeline` or as the best of a `GridSearchCV`,
    skl2onnx asks it, and no such call is needed. Of what a `VotingClassifier`, a
    `CalibratedClassifierCV` or a `StackingClassifier` holds, it only looks up the class.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    See Also
    --------
    FeedForwardClassifier.onnx_converter : What skl2onnx asks of an estimator by itself.
    FeedForwardRegressor.onnx_converter : What skl2onnx asks of an estimator by itself.

    Examples
    --------
    >>> import sknn
    >>> sknn.register_onnx()

    .. versionadded:: 0.1
    """
    from sknn._exports._onnx import register

    register()
