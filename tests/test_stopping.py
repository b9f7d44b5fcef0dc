"""scikit-learn's rules: when an epoch is an improvement, and what follows when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from sknn import FeedForwardClassifier
from sknn._stopping import Progress, inverse_scaling, loss_improves, score_improves, slowed


@pytest.mark.parametrize(
    ("loss", "improves"), [(0.89, True), (0.9, True), (0.91, False), (np.nan, True)]
)
def test_loss_improves_below_the_best_by_tol(loss, improves):
    assert loss_improves(loss, 1.0, 0.1) is improves


@pytest.mark.parametrize(
    ("score", "improves"), [(0.7, True), (0.6, True), (0.59, False), (np.nan, True)]
)
def test_score_improves_above_the_best_by_tol(score, improves):
    assert score_improves(score, 0.5, 0.1) is improves


def test_inverse_scaling_counts_rows():
    assert inverse_scaling(0.5, 99, 0.5) == pytest.approx(0.05)


def test_adaptive_rate_ends_when_too_small():
    assert slowed(0.5) == pytest.approx(0.1)
    assert slowed(1e-6) is None


def test_progress_counts_bad_epochs_and_keeps_the_best_loss():
    progress = Progress().copy(early_stopping=False, has_validation=False)
    for loss, count in [(1.0, 0), (0.95, 1), (0.96, 2), (0.5, 0), (np.nan, 0)]:
        progress.watch_loss(loss, tol=0.1)
        assert progress.no_improvement_count == count
    assert progress.best_loss == 0.5
    assert progress.validation_scores is None


def test_progress_remembers_the_best_score_also_where_it_improves_by_less_than_tol():
    progress = Progress().copy(early_stopping=True, has_validation=True)
    best, counts = [], []
    for score in (0.5, 0.55, 0.52, np.nan):
        progress.watch_score(score, tol=0.1)
        best.append(progress.add_score(score))
        counts.append(progress.no_improvement_count)
    assert best == [True, True, False, False]
    assert counts == [0, 1, 2, 0]
    assert progress.best_validation_score == 0.55
    assert progress.best_loss is None


def test_copied_progress_shares_no_list():
    progress = Progress(loss_curve=[1.0])
    progress.copy(early_stopping=False, has_validation=False).loss_curve.append(2.0)
    assert progress.loss_curve == [1.0]


def test_progress_rewinds_to_its_mark():
    progress = Progress().copy(early_stopping=True, has_validation=True)
    progress.loss_curve.append(1.0)
    progress.add_score(0.5)
    mark = progress.mark()
    expected = progress.copy(early_stopping=True, has_validation=True)
    for curve in (progress.loss_curve, progress.learning_rate_curve):
        curve.append(2.0)
    progress.add_score(0.6)
    progress.watch_score(0.4, tol=0.1)
    progress.rewind(mark)
    assert progress == expected


def test_keyboard_interrupt_in_a_rule_is_the_users(monkeypatch):
    # A rule ends training by an exception of its own, so a KeyboardInterrupt that comes while a
    # rule runs is still reported.
    def interrupt(self, net, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sknn._stopping.StopOnPlateau.on_epoch_end", interrupt)
    rng = np.random.RandomState(0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator = FeedForwardClassifier().fit(rng.randn(20, 2), rng.randint(0, 2, 20))
    assert estimator.n_iter_ == 0
    assert estimator.loss_curve_ == []
