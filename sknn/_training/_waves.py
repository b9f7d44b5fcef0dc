"""`early_stopping="waves"`: the ends of the waves of the rate are compared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from skorch.callbacks import Callback

from sknn._data._batches import Batches
from sknn._data._shards import ShardBatches
from sknn._network._loss_meter import LossMeter
from sknn._network._summed_step import SummedMeter
from sknn._training._schedules import ENDS_OF_WAVES

# Share of the validation loss that the third wave must take off, so that the last one, which is
# more than half of the training, learns from the validation rows too: this number, and with n rows
# `SPREAD * n ** -0.5`, as few rows show a gain by chance. Where the loss falls by less, the last
# wave often fits noise. Both were chosen on 26 tables of 2,000 to 6,000 rows, and on samples of
# others where it fell by 5.7 to 7.7%. There, all rows changed the error by a factor of 0.75 to 0.96
# on four samples of a table of classes, and of 1.00 to 1.02 on three of tables of numbers.
LEAST_GAIN = 0.04
SPREAD = 0.5

# A classifier with dropout learns from all rows in the last wave also where the loss fell by less,
# or rose by at most this share, if its regularization stays raised until the end: twice the dropout
# and five times the decay. The more the loss rose, the more it is raised, up to 1.5 times as much.
# On 39 samples of tables, this changed the error by a factor of 0.93 in the geometric mean, and the
# log loss by 0.96 (examples/benchmarks/waves.py). Where the loss rose by more, one of the two often
# became worse. So did the error of regressors with dropout. Without all rows, the last wave had the
# best end in none of 17 samples where the loss rose by more, so that training ends there.
MOST_RISE = 0.1
RAISED_DROPOUT = 2.0
RAISED_DECAY = 5.0
PER_RISE = 5.0


class Waves(NamedTuple):
    """The waves of the rate, whose ends are compared.

    Attributes
    ----------
    ends : tuple of int
        Numbers of the epochs with which the four waves end.
    least_gain : float
        Share of the validation loss that the third wave must take off.
    can_raise : bool
        Whether there are classes, dropout, and a schedule that can raise it.
    all_rows : callable or None
        Function that makes the batches of all rows, from which the last wave may learn, and what
        reads their loss. It is None if the validation rows were not split off.
    """

    ends: tuple[int, ...]
    least_gain: float
    can_raise: bool = False
    all_rows: Callable[[], tuple[Batches | ShardBatches, LossMeter | SummedMeter]] | None = None

    @classmethod
    def of(cls, n_epochs: int, warmup_fraction: float, n_validation_rows: int) -> Waves:
        """Return the waves of a training, which begin after the warm-up."""
        shares = (warmup_fraction + (1 - warmup_fraction) * end for end in ENDS_OF_WAVES)
        ends = tuple(max(1, round(n_epochs * share)) for share in shares)
        return cls(ends, LEAST_GAIN + SPREAD * n_validation_rows**-0.5)

    def gain(self, records: list[dict[str, Any]]) -> float:
        """Return the share of the validation loss that the third wave took off the best end before.

        It is NaN if the third wave has not ended, or if no wave has ended before or is left.
        """
        *before, third, last = self.ends
        before = [n for n in before if n < third]
        if len(records) < third or not before or third == last:
            return np.nan
        best = np.fmin.reduce([records[n - 1]["valid_loss"] for n in before])  # without a NaN
        after = records[third - 1]["valid_loss"]
        return (best - after) / max(abs(best), sys.float_info.min)  # a user's loss may be negative

    def raise_in_last_wave(self, records: list[dict[str, Any]]) -> float | None:
        """Return how much the last wave raises the regularization, if it learns from all rows.

        It is 0 if the schedule of the regularization goes on, and None if the last wave does not
        learn from all rows, or the third one has not ended.
        """
        gain = self.gain(records)
        if gain > self.least_gain:
            return 0.0
        if self.can_raise and gain > -MOST_RISE:
            return 1 + PER_RISE * max(0.0, -gain)
        return None

    def has_risen(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the loss has risen so much that the last wave is not worth its time."""
        return self.gain(records) <= -MOST_RISE

    def best_end(self, records: list[dict[str, Any]]) -> int | None:
        """Return the epoch with the end of a wave whose weights are kept, of those so far.

        It is that of the least validation loss, and the last one if it has learned from the
        validation rows, so that there is no loss. It is None before the end of the first wave.
        """
        best, least = None, float("inf")
        for n in self.ends:
            if n <= len(records):
                loss = records[n - 1].get("valid_loss")
                if loss is None:
                    return n
                if loss <= least:
                    best, least = n, loss
        return best


class WatchWaves(Callback):
    """Callback that compares the validation losses at the ends of the waves of the rate.

    The rate is zero there. On noisy data the last wave may fit noise, and on others it is worth
    most. If the third wave has taken off enough of the loss, or more regularization can keep the
    network from fitting noise, the last one learns from the validation rows too, and its weights
    are kept. Else the weights of the best end are kept, and there is no last wave if the loss has
    risen a lot.
    """

    def __init__(self, waves: Waves, verbose: bool) -> None:
        self.waves = waves
        self.verbose = verbose

    def on_epoch_end(self, net, **kwargs) -> None:
        records, waves = net.records_, self.waves
        n_done = len(records)
        if n_done not in waves.ends:
            return
        if waves.best_end(records) == n_done:
            net.remember_best()
        if n_done != waves.ends[2]:
            return
        if waves.has_risen(records):
            net.is_asked_to_stop_ = True
            if self.verbose:
                print(f"Validation loss has risen until epoch {n_done}. Stopping.")
            return
        if waves.all_rows is None:
            return
        raised = waves.raise_in_last_wave(records)
        if raised is None:
            return
        net.trainer.begin_last_wave(raised)
        if self.verbose:
            what = "no longer falls enough" if raised else "still falls"
            how = " with more regularization" if raised else ""
            print(f"Validation loss {what} after epoch {n_done}: learning from all rows{how}.")
