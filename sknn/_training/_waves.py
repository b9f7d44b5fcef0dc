"""`early_stopping="waves"`: the ends of the waves of the rate are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Waves(NamedTuple):
    """The waves of the rate, whose ends are compared.

    Attributes
    ----------
    ends : tuple of int
        Numbers of the epochs with which the four waves end.
    least_gain : float
        Share of the validation loss that the third wave must take off.
    all_rows : callable or None
        Function that makes the batches of all rows, from which the last wave may learn, and what
        reads their loss. It is None if the validation rows were not split off.
    """

    ends: tuple[int, ...]
    least_gain: float
    all_rows: Callable[[], tuple[Batches | ShardBatches, LossMeter | SummedMeter]] | None = None

    @classmethod
    def of(cls, n_epochs: int, warmup_fraction: float, n_validation_rows: int) -> Waves:
        """Return the waves of a training, which begin after the warm-up."""
        shares = (warmup_fraction + (1 - warmup_fraction) * end for end in ENDS_OF_WAVES)
        ends = tuple(max(1, round(n_epochs * share)) for share in shares)
        return cls(ends, LEAST_GAIN + SPREAD * n_validation_rows**-0.5)

    def still_fell(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the third wave has ended, and has taken off enough of the loss."""
        if len(records) < self.ends[2]:
            return False
        before, after = (records[n - 1]["valid_loss"] for n in self.ends[1:3])
        return before - after > self.least_gain * abs(before)  # a loss of the user may be negative

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
    most. If the third wave has taken off enough of the loss, the last one learns from the
    validation rows too, and its weights are kept. Else the weights of the best end are kept.
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
        if n_done == waves.ends[2] and waves.all_rows is not None and waves.still_fell(records):
            net.trainer.begin_last_wave()
            if self.verbose:
                print(f"Validation loss still falls after epoch {n_done}: learning from all rows.")
