"""scikit-learn's rules say when an epoch is an improvement, and what happens if it is not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from sknn import FeedForwardClassifier
from sknn._data._processes import OneProcess
from sknn._training._stopping import (
    InverseScaling,
    KeepFinishedEpoch,
    Progress,
    StopOnDivergence,
    StopOnPlateau,
    StopTraining,
    TrackProgress,
    inverse_scaling,
    loss_improves,
    score_improves,
    slowed,
)


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
    assert slowed(1.1e-6) == pytest.approx(2.2e-7)
    assert slowed(1e-6) is None
    assert slowed(1e-7) is None


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


def test_new_progress_has_counted_nothing():
    for progress in (Progress(), Progress().copy(early_stopping=True, has_validation=True)):
        assert (progress.no_improvement_count, progress.n_samples_seen) == (0, 0)
        assert progress.loss_curve == progress.learning_rate_curve == []


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


# --- records that are kept or dropped when a training continues with other settings -----------

# Early stopping leaves no best loss. Validation data that were only recorded leave both a best
# loss and a best score.
STOPPED_EARLY = Progress([1.0, 0.9], [0.1, 0.1], [0.5, 0.7], [2.0, 1.5], None, 0.7, 1, 80, "score")
RECORDED = Progress([1.0, 0.9], [0.1, 0.1], [0.5, 0.7], [2.0, 1.5], 0.9, 0.7, 1, 80, "score")
ALONE = Progress([1.0, 0.9], [0.1, 0.1], None, None, 0.9, None, 1, 80, "")


@pytest.mark.parametrize("before", [STOPPED_EARLY, RECORDED, ALONE])
def test_losses_and_counts_go_on_whatever_was_watched(before):
    for early_stopping, has_validation in [(True, True), (False, True), (False, False)]:
        after = before.copy(early_stopping, has_validation, "score")
        for name in ("loss_curve", "learning_rate_curve", "no_improvement_count", "n_samples_seen"):
            assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize(
    ("before", "early_stopping", "is_other", "best_loss", "best_score"),
    [
        (STOPPED_EARLY, True, False, None, 0.7),
        (STOPPED_EARLY, True, True, None, -np.inf),  # The best score belongs to other rows.
        (STOPPED_EARLY, False, False, np.inf, 0.7),
        (STOPPED_EARLY, False, True, np.inf, 0.7),
        (RECORDED, True, False, None, -np.inf),  # There are no best weights to go back to.
        (RECORDED, False, False, 0.9, 0.7),
        (RECORDED, False, True, 0.9, 0.7),
        (ALONE, True, False, None, -np.inf),
        (ALONE, False, False, 0.9, -np.inf),
    ],
)
def test_best_of_before_is_kept_where_it_compares(
    before, early_stopping, is_other, best_loss, best_score
):
    after = before.copy(early_stopping, True, before.watched, is_other)
    assert (after.best_loss, after.best_validation_score) == (best_loss, best_score)
    assert after.validation_scores == (before.validation_scores or [])
    assert after.validation_loss_curve == (before.validation_loss_curve or [])


@pytest.mark.parametrize("watched", ["accuracy", "z"])  # These names sort before and after "score".
@pytest.mark.parametrize("before", [STOPPED_EARLY, RECORDED])
def test_scores_of_something_else_are_left_behind(before, watched):
    after = before.copy(True, True, watched)
    assert (after.validation_scores, after.validation_loss_curve) == ([], [])
    assert (after.best_validation_score, after.watched) == (-np.inf, watched)


@pytest.mark.parametrize("before", [STOPPED_EARLY, RECORDED])
def test_training_without_validation_keeps_no_scores_and_what_they_were_of(before):
    after = before.copy(False, False, "loss")
    assert (after.validation_scores, after.validation_loss_curve) == (None, None)
    assert (after.best_validation_score, after.watched) == (None, "score")
    assert after.best_loss == (before.best_loss or np.inf)


def test_equal_score_is_not_a_better_one():
    progress = Progress().copy(early_stopping=True, has_validation=True)
    assert [progress.add_score(score) for score in (0.5, 0.5, 0.6)] == [True, False, True]


# --- the rules, at the end of an epoch --------------------------------------------------------


class Net:
    """A stand-in for the net, with records, the solver's group, and counts of calls by rules."""

    def __init__(self, group=None, is_finite=True):
        self.records_ = []
        self.trainer = SimpleNamespace(batches=SimpleNamespace(n_samples=40), first_rate=0.1)
        self.optimizer_ = SimpleNamespace(param_groups=[group])
        self.is_asked_to_stop_ = False
        self.is_finite = lambda: is_finite
        self.n_best = self.n_saved = 0

    @property
    def record_(self):
        return self.records_[-1]

    def remember_best(self):
        self.n_best += 1

    def save_epoch(self):
        self.n_saved += 1

    def after(self, rule, **record):
        """Return the net after an epoch with this record and a call of the rule."""
        self.records_.append({"epoch": len(self.records_) + 1, **record})
        rule.on_epoch_end(self)
        return self


def track(early_stopping, has_validation, verbose=False):
    progress = Progress().copy(early_stopping, has_validation)
    return progress, TrackProgress(progress, 0.01, verbose, early_stopping)


def test_track_marks_the_epochs_of_the_least_losses():
    _, rule = track(False, True)
    net = Net()
    rule.on_train_begin(net)
    for train, valid in [(3.0, 1.0), (2.0, 1.5), (2.0, 1.0), (2.5, 0.5), (1.0, 0.5)]:
        net.after(rule, train_loss=train, valid_loss=valid, valid_score=-valid)
    assert [r["train_loss_best"] for r in net.records_] == [True, True, False, False, True]
    assert [r["valid_loss_best"] for r in net.records_] == [True, False, False, True, False]
    assert [r["valid_score_best"] for r in net.records_] == [True, False, False, True, False]


def test_track_goes_on_from_the_least_losses_of_the_records_before():
    _, rule = track(False, True)
    net = Net()
    net.records_ += [{"train_loss": 1.0}, {"train_loss": 2.0, "valid_loss": 3.0}]
    rule.on_train_begin(net)
    net.after(rule, train_loss=1.5, valid_loss=2.5, valid_score=0.0)
    assert not net.record_["train_loss_best"]
    assert net.record_["valid_loss_best"]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_track_takes_in_the_epoch_and_watches_score_or_loss(early_stopping):
    progress, rule = track(early_stopping, True)
    net = Net()
    for loss, score in [(1.0, 0.5), (0.5, 0.4), (0.6, 0.9), (0.7, 0.905)]:
        net.after(rule, train_loss=loss, valid_loss=2 * loss, valid_score=score)
    assert progress.loss_curve == [1.0, 0.5, 0.6, 0.7]
    assert progress.validation_loss_curve == [2.0, 1.0, 1.2, 1.4]
    assert progress.validation_scores == [0.5, 0.4, 0.9, 0.905]
    assert progress.learning_rate_curve == [0.1] * 4
    assert progress.n_samples_seen == 160
    assert progress.best_validation_score == 0.905
    # The last score is better, but by less than tol; the last two losses are worse.
    assert progress.no_improvement_count == (1 if early_stopping else 2)
    assert progress.best_loss == (None if early_stopping else 0.5)
    assert net.n_best == (3 if early_stopping else 0)


def test_track_without_validation_watches_the_loss():
    progress, rule = track(False, False)
    net = Net().after(rule, train_loss=1.0).after(rule, train_loss=2.0)
    assert (progress.best_loss, progress.no_improvement_count) == (1.0, 1)
    assert progress.validation_scores is None
    assert net.record_ == {"epoch": 2, "train_loss": 2.0, "train_loss_best": False}


@pytest.mark.parametrize("verbose", [False, True])
def test_track_prints_loss_and_score_if_verbose(verbose, capsys):
    _, rule = track(True, True, verbose)
    Net().after(rule, train_loss=0.5, valid_loss=1.0, valid_score=0.25)
    said = "Iteration 1, loss = 0.50000000\nValidation score: 0.250000\n"
    assert capsys.readouterr().out == (said if verbose else "")


@pytest.mark.parametrize(
    ("loss", "is_finite", "diverged"),
    [(1.0, True, False), (np.nan, True, False), (np.inf, False, True), (np.nan, False, True)],
)
def test_divergence_is_a_loss_and_weights_that_are_not_finite(loss, is_finite, diverged):
    net = Net(is_finite=is_finite)
    assert stops(StopOnDivergence(False), net, train_loss=loss) == (diverged, diverged)


@pytest.mark.parametrize(
    ("score", "diverged"), [(1.0, False), (np.inf, False), (-np.inf, False), (np.nan, True)]
)
def test_divergence_with_early_stopping_is_a_score_of_nan(score, diverged):
    record = {"train_loss": np.nan, "valid_score": score}
    assert stops(StopOnDivergence(True), Net(is_finite=False), **record) == (diverged, diverged)


def test_finite_loss_of_weights_that_are_not_is_no_divergence():
    # As in scikit-learn, the next loss shows the divergence.
    assert stops(StopOnDivergence(False), Net(is_finite=False), train_loss=1.0) == (False, False)


def stops(rule, net, **record):
    """Return whether a rule ends training, and whether the training counts as diverged."""
    try:
        net.after(rule, **record)
    except StopTraining as stop:
        assert not stop.is_amid_epoch
        return True, stop.diverged
    return False, False


@pytest.mark.parametrize("schedule", ["constant", "adaptive", "zigzag", None])
def test_inverse_scaling_leaves_other_schedules_alone(schedule):
    group = {"lr": 0.3} if schedule is None else {"lr": 0.3, "learning_rate": schedule}
    Net(group).after(InverseScaling(Progress(n_samples_seen=99)))
    assert group["lr"] == 0.3


def test_inverse_scaling_sets_the_rate_by_the_rows_seen():
    group = {"learning_rate": "invscaling", "learning_rate_init": 0.5, "power_t": 0.5, "lr": 0.3}
    Net(group).after(InverseScaling(Progress(n_samples_seen=99)))
    assert group["lr"] == pytest.approx(0.05)


def plateau(n_bad, verbose=False, early_stopping=False):
    progress = Progress(no_improvement_count=n_bad)
    return progress, StopOnPlateau(progress, 0.25, 300, verbose, early_stopping)


@pytest.mark.parametrize(("n_bad", "ends"), [(299, False), (300, False), (301, True), (302, True)])
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "abrupt", "zigzag"])
def test_plateau_ends_after_more_bad_epochs_than_allowed(schedule, n_bad, ends):
    _, rule = plateau(n_bad)
    group = {"learning_rate": schedule, "lr": 0.5}
    assert stops(rule, Net(group)) == (ends, False)
    assert group["lr"] == 0.5


def test_plateau_of_a_solver_without_a_schedule_ends():
    assert stops(plateau(301)[1], Net({"lr": 0.5})) == (True, False)


def test_plateau_slows_an_adaptive_rate_and_counts_anew():
    progress, rule = plateau(301)
    group = {"learning_rate": "adaptive", "lr": 0.5}
    assert stops(rule, Net(group)) == (False, False)
    assert (group["lr"], progress.no_improvement_count) == (pytest.approx(0.1), 0)
    assert stops(plateau(301)[1], Net({**group, "lr": 1e-6})) == (True, False)


@pytest.mark.parametrize(
    ("schedule", "rate", "end"),
    [
        ("constant", 0.5, " Stopping."),
        ("adaptive", 0.5, " Setting learning rate to 0.100000"),
        ("adaptive", 1e-6, " Learning rate too small. Stopping."),
    ],
)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("verbose", [False, True])
def test_plateau_says_in_scikit_learns_words(schedule, rate, end, early_stopping, verbose, capsys):
    stops(plateau(301, verbose, early_stopping)[1], Net({"learning_rate": schedule, "lr": rate}))
    watched = "Validation score" if early_stopping else "Training loss"
    said = f"{watched} did not improve more than tol=0.250000 for 300 consecutive epochs.{end}\n"
    assert capsys.readouterr().out == (said if verbose else "")


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("elsewhere", [None, False, True])
def test_finished_epoch_is_kept_and_training_ends_where_a_process_asks(here, elsewhere):
    asked = SimpleNamespace(any=lambda condition: condition or elsewhere)
    rule = KeepFinishedEpoch(OneProcess() if elsewhere is None else asked)
    net = Net()
    rule.on_train_begin(net)
    net.is_asked_to_stop_ = here
    assert stops(rule, net) == (here or bool(elsewhere), False)
    assert net.n_saved == 2


def test_keyboard_interrupt_in_a_rule_is_the_users(monkeypatch):
    # A rule ends training by an exception of its own, so a KeyboardInterrupt that comes while a
    # rule runs is still reported.
    def interrupt(self, net, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sknn._training._stopping.StopOnPlateau.on_epoch_end", interrupt)
    rng = np.random.RandomState(0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator = FeedForwardClassifier().fit(rng.randn(20, 2), rng.randint(0, 2, 20))
    assert estimator.n_iter_ == 0
    assert estimator.loss_curve_ == []
