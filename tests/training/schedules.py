"""Learning-rate schedules of every kind, and test ids for them."""

from __future__ import annotations

from functools import partial

import torch
from torch.optim import lr_scheduler

N_BATCHES = 4  # 150 rows make 4 batches.
# SequentialLR of torch 2.4 and 2.5 calls `step` in a way that torch itself has deprecated.
TORCHS_OWN = "The epoch parameter in `scheduler.step"


def one_over(epoch):
    return 1 / (1 + epoch)


def two_in_a_row(optimizer):
    first, second = lr_scheduler.ConstantLR(optimizer, 0.1, 2), one_cycle_by_epoch(optimizer)
    return lr_scheduler.SequentialLR(optimizer, [first, second], milestones=[2])


def one_cycle_by_epoch(optimizer):
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20, cycle_momentum=False)


SCHEDULERS = {
    "StepLR": partial(lr_scheduler.StepLR, step_size=2, gamma=0.3),
    "ExponentialLR": partial(lr_scheduler.ExponentialLR, gamma=0.5),
    "LambdaLR": partial(lr_scheduler.LambdaLR, lr_lambda=one_over),
    "LinearLR": partial(lr_scheduler.LinearLR, start_factor=0.25, total_iters=3),
    "warm restarts": partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2),
    "OneCycleLR": one_cycle_by_epoch,
    "SequentialLR": two_in_a_row,
}


def name_of(value):
    """Return the test id of a parameter."""
    return getattr(getattr(value, "func", value), "__name__", str(value))


def warmth(fraction, n):
    """Return the factors by which a linear warm-up multiplies the rates of n steps."""
    n_warm = max(1, round(fraction * n)) if fraction else 0
    return [min(1.0, (step + 1) / n_warm) if n_warm else 1.0 for step in range(n)]


CONTINUED = ["adam", "adamw", "sgd", partial(torch.optim.SGD, momentum=0.9)]
