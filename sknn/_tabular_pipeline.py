"""The public function that makes a pipeline from a table to a trained network."""

from __future__ import annotations

from inspect import isclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from sknn._classifier import FeedForwardClassifier
from sknn._input import _hints
from sknn._input._periodic_embedding import PeriodicEmbedding
from sknn._regressor import FeedForwardRegressor

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# What both networks have. The page docs/guide/tables.md says what each is for.
_OF_BOTH = {
    "hidden_layer_sizes": (128, 128, 128),
    "n_members": 4,
    "solver": "adamw",
    "alpha": 0.02,
    "beta_2": 0.95,
    "learning_rate": "coslog",
    "input_scaling": True,
    "initialization": "data",
    "regularization_schedule": "flat_cos",
    "batch_size": "by_rows",
    "max_iter": "by_rows",
    "n_iter_no_change": np.inf,  # the best weights come with the end of the schedule
    "early_stopping": "waves",
    "validation_fraction": 0.15,
    "dtype": "float32",
}
_OF_CLASSIFIER = _OF_BOTH | {
    "activation": "parametric_selu",
    "learning_rate_init": 0.0036,
    "numeric_embedding": PeriodicEmbedding(scale=0.2),
    "dropout": 0.15,
    "label_smoothing": 0.03,
}
_OF_REGRESSOR = _OF_BOTH | {
    "activation": "mish",
    "learning_rate_init": 0.0063,
    "numeric_embedding": PeriodicEmbedding(scale=0.3),
    "dropout": 0.0,
    "target_scaling": "clipped",
}
_NETWORKS = {
    "classifier": (FeedForwardClassifier, _OF_CLASSIFIER),
    "regressor": (FeedForwardRegressor, _OF_REGRESSOR),
}


def tabular_pipeline(
    estimator: str | BaseEstimator = "classifier", *, n_jobs: int | None = None, **parameters: Any
) -> Pipeline:
    """Create a pipeline that preprocesses a table with skrub and fits a network.

    The table can be a pandas or polars data frame with numbers, categories, strings, booleans,
    dates and missing values, or an array. The settings of the network are those that performed best
    on many tables, separately for classification and regression. See docs/guide/tables.md.

    Parameters
    ----------
    estimator : {'classifier', 'regressor'} or estimator instance, default='classifier'
        'classifier' uses a `FeedForwardClassifier` and 'regressor' a `FeedForwardRegressor`, with
        settings for tables. An estimator instance, from any library with scikit-learn's interface,
        keeps its own settings.
    n_jobs : int or None, default=None
        Number of columns of the frame that are preprocessed in parallel. None means 1 unless in a
        joblib context, and -1 means all processors.
    **parameters : dict
        Parameters of the estimator that override the settings for tables, such as `random_state=0`,
        `max_iter=20`, or `numeric_embedding__scale=0.2`. They are set on a copy of an instance.

    Returns
    -------
    Pipeline
        An unfitted pipeline with these steps:

        - 'vectorizer', a `skrub.TableVectorizer`, which converts all columns to numbers;
        - 'imputer', a :class:`sklearn.impute.SimpleImputer`, which replaces missing values with the
          median and adds indicator columns for them. Its error about infinite values names the
          columns;
        - 'scaler', a `skrub.SquashingScaler`, which scales by the quartiles and limits outliers to
          an absolute value of at most 3;
        - 'network', the estimator.

    Raises
    ------
    ImportError
        If skrub is not installed.
    TypeError
        If the estimator does not have one of the parameters, or if `estimator` is not an estimator.
    ValueError
        If `estimator` is any other string.

    See Also
    --------
    FeedForwardClassifier : The network for classification.
    FeedForwardRegressor : The network for regression.
    PeriodicEmbedding : Learned periodic functions of numeric columns.

    Examples
    --------
    >>> import pandas as pd
    >>> from sknn import tabular_pipeline
    >>> frame = pd.DataFrame({
    ...     "age": [31, None, 58, 44] * 20,
    ...     "town": ["Bergen", "Oslo", None, "Oslo"] * 20,
    ...     "since": ["2021-03-01", "2019-11-30", "2024-01-15", "2020-06-02"] * 20,
    ... })
    >>> y = ["stays", "leaves", "stays", "leaves"] * 20
    >>> model = tabular_pipeline("classifier", max_iter=8, random_state=0).fit(frame, y)
    >>> model.predict(frame.head(2)).tolist()
    ['stays', 'leaves']
    >>> list(model.named_steps)
    ['vectorizer', 'imputer', 'scaler', 'network']
    """
    network = _with_parameters(_estimator_of(estimator), parameters)
    try:
        from skrub import DatetimeEncoder, SquashingScaler, StringEncoder, TableVectorizer
    except ImportError as error:
        raise ImportError(
            f"tabular_pipeline needs skrub, which cannot be imported: {error}. Install it with"
            ' `pip install "sknn[tabular]"`.'
        ) from error
    from sklearn.pipeline import Pipeline  # These take a while to import.

    from sknn._input._imputer import ColumnNamingImputer

    vectorizer = TableVectorizer(
        high_cardinality=StringEncoder(random_state=0),
        datetime=DatetimeEncoder(add_weekday=True, periodic_encoding="circular"),
        drop_null_fraction=None,  # a table without any column left would be an error
        n_jobs=n_jobs,
    )
    imputer = ColumnNamingImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline(
        [
            ("vectorizer", vectorizer),
            ("imputer", imputer),
            ("scaler", SquashingScaler(max_absolute_value=3)),
            ("network", network),
        ]
    )


def _estimator_of(estimator: str | BaseEstimator) -> BaseEstimator:
    """Return the network for a word, or an estimator as it is."""
    if isinstance(estimator, str):
        if estimator not in _NETWORKS:
            raise ValueError(
                f"estimator={estimator!r} is not allowed. It must be 'classifier', 'regressor' or"
                " an estimator instance."
            )
        kind, settings = _NETWORKS[estimator]
        return clone(kind(**settings))  # with an embedding of its own
    if isclass(estimator) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        given = f"the class {estimator.__name__}" if isclass(estimator) else repr(estimator)
        raise TypeError(
            f"estimator={given} is not an estimator. It must be 'classifier', 'regressor' or an"
            " estimator instance, such as FeedForwardClassifier()."
        )
    return estimator


def _with_parameters(estimator: BaseEstimator, parameters: dict[str, Any]) -> BaseEstimator:
    """Return the estimator, or a copy with these parameters."""
    if not parameters:
        return estimator
    known = estimator.get_params()
    for name in parameters:
        if name not in known:
            is_ours = isinstance(estimator, FeedForwardClassifier | FeedForwardRegressor)
            hint = (_hints.of_parameter if is_ours else _hints.alike)(name, known)
            raise TypeError(
                f"tabular_pipeline() got an unexpected keyword argument {name!r}, which is not a"
                f" parameter of {type(estimator).__name__} either."
                f" {hint or 'Its parameters are listed by get_params().'}"
            )
    return clone(estimator).set_params(**parameters)
