"""What an estimator shows of its network: as text, and in scikit-learn's diagrams."""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from sknn._platform import _sklearn_compat

# Public attributes that are no stored ones: properties that copy the weights and import torch.
_MADE_WHEN_READ = ("net_", "module_")


class DescribedNetwork:
    """The part of an estimator that tells of its network."""

    def summary(self) -> str:
        """The network as text: its layers, where and how it is computed, and what has come of it.

        Returns
        -------
        str
            A table of the layers with their shapes, activations, normalization, dropout and numbers
            of parameters; then loss, solver, device, dtype and epochs; and of a fitted estimator
            its last losses and scores. Before `fit`, what only the data tell is a question mark.

        Raises
        ------
        ValueError, TypeError
            If `fit` would refuse a parameter that is shown, or if the parameters are of no network.

        Notes
        -----
        .. versionadded:: 0.1

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

    def __dir__(self) -> list[str]:
        # scikit-learn 1.9 lists what can be read, and reads it to know. Who presses the tab key
        # would wait for two copies of the weights.
        made = _MADE_WHEN_READ if hasattr(self, "coefs_") else ()
        names = (name for name in object.__dir__(self) if name not in _MADE_WHEN_READ)
        return [*made, *(name for name in names if hasattr(self, name))]

    # What scikit-learn asks an estimator for when it draws a diagram, of the versions from 1.7 on:
    # a table of its parameters, from 1.9 on one of its fitted attributes, and the block that it is.
    # None is public. A version that has other names draws its plain box.

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        from sknn._display._html import network_html

        table = super()._get_params_html(*args, **kwargs)
        return _sklearn_compat.with_html_before(table, partial(network_html, self))

    @available_if(lambda self: _sklearn_compat.has_table_of_attributes())
    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        stored = _sklearn_compat.StoredAttributes(self._as_it_is())
        return BaseEstimator._get_fitted_attr_html(stored, *args, **kwargs)

    @available_if(lambda self: _sklearn_compat.has_captions())
    def _sk_visual_block_(self) -> Any:
        from sknn._display._html import caption_of

        return _sklearn_compat.captioned_block(self, caption_of(self))
