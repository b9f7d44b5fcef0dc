"""`batch_size="by_rows"` and `max_iter="by_rows"` follow from the number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TARGETS, assert_bit_equal, needs_sklearn

from sknn import FeedForwardClassifier, FeedForwardRegressor, from_sklearn
from sknn._training._settings import batch_size_by_rows, epochs_by_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = TARGETS["multiclass"]
BY_ROWS = {"batch_size": "by_rows", "max_iter": "by_rows", "random_state": 0}


@pytest.mark.parametrize(
    ("n_rows", "size"),
    [
        *(
            (1, 32),
            (2_999, 32),
            (3_000, 64),
            (4_999, 64),
            (5_000, 128),
            (14_999, 128),
            (15_000, 256),
            (99_999, 256),
        ),
        *((100_000, 512), (299_999, 512), (300_000, 1024), (10**9, 1024)),
    ],
)
def test_size_of_a_batch_at_its_limits(n_rows, size):
    assert batch_size_by_rows(n_rows) == size


@pytest.mark.parametrize(
    ("n_rows", "n_epochs"),
    [
        *(
            (1, 128),
            (999, 128),
            (1_000, 64),
            (50_000, 64),
            (50_001, 63),
            (100_000, 32),
            (200_000, 16),
        ),
        *((400_000, 8), (10**6, 8), (10**9, 8)),
    ],
)
def test_number_of_epochs_at_its_limits(n_rows, n_epochs):
    assert epochs_by_rows(n_rows) == n_epochs


@pytest.mark.parametrize("early_stopping", [False, True])
def test_rules_equal_their_numbers(early_stopping):
    options = {"hidden_layer_sizes": (5,), "early_stopping": early_stopping, "random_state": 0}
    ruled = FeedForwardClassifier(**options | BY_ROWS).fit(X, SPECIES)
    given = FeedForwardClassifier(**options, batch_size=32, max_iter=128).fit(X, SPECIES)
    assert_bit_equal(ruled, given)


def test_rules_look_at_the_rows_to_learn_from():
    rows = np.random.RandomState(0).standard_normal((5_100, 2))
    options = {"hidden_layer_sizes": (), "max_iter": 2, "early_stopping": True, "random_state": 0}
    ruled, given = (
        FeedForwardRegressor(**options, batch_size=size).fit(rows, rows[:, 0])
        for size in ("by_rows", 64)  # 4,590 rows are left
    )
    assert_bit_equal(ruled, given)


def test_partial_fit_takes_the_size_of_its_rows_without_a_warning_for_few_rows():
    ruled = FeedForwardClassifier((5,), **BY_ROWS)
    given = FeedForwardClassifier((5,), batch_size=32, max_iter=128, random_state=0)
    for model in (ruled, given):
        for _ in range(2):
            model.partial_fit(X, SPECIES, classes=np.unique(SPECIES))
    assert_bit_equal(ruled, given)
    FeedForwardClassifier((5,), **BY_ROWS).partial_fit(X[:3], SPECIES[:3], classes=[0, 1, 2])


def test_horizon_of_a_schedule_is_the_number_of_epochs():
    curves = [
        FeedForwardClassifier(
            (5,),
            batch_size=64,
            max_iter=n,
            learning_rate="cosine",
            random_state=0,
            n_iter_no_change=np.inf,
        )
        .fit(X, SPECIES)
        .learning_rate_curve_
        for n in ("by_rows", 128)
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 128


def test_progress_bar_has_the_number_of_epochs(capsys):
    FeedForwardClassifier((5,), **BY_ROWS, verbose="progress", n_iter_no_change=100).fit(X, SPECIES)
    printed = capsys.readouterr()
    assert "128/128" in printed.out + printed.err


def test_callbacks_of_scikit_learn_are_told_of_each_epoch():
    needs_sklearn("1.9", "has no callbacks")
    from sklearn.callback import ProgressBar

    told = []

    class Counting(ProgressBar):
        """A callback that counts the tasks that end."""

        def on_fit_task_end(self, estimator, context, **given):
            told.append(context.task_name)

    model = FeedForwardClassifier((5,), **BY_ROWS, n_iter_no_change=100)
    model.set_callbacks(Counting()).fit(X, SPECIES)
    assert told.count("epoch") == 128


def test_mlp_of_scikit_learn_gets_its_own_defaults():
    model = FeedForwardClassifier(
        (5,), **BY_ROWS, early_stopping="waves", learning_rate="coslog"
    ).fit(X, SPECIES)
    theirs = model.to_sklearn()
    assert (theirs.batch_size, theirs.max_iter) == ("auto", 200)
    assert (theirs.early_stopping, theirs.learning_rate) == (False, "constant")
    np.testing.assert_allclose(theirs.predict_proba(X), model.predict_proba(X))
    theirs.partial_fit(X, SPECIES)
    from_sklearn(theirs).fit(X, SPECIES)
