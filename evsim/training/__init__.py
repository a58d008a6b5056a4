"""Learning in layered networks by gradients: backpropagation through time, losses, optimisers, the Trainer.

What neurons say of it: `surrogate`, taken for the derivative of a spike by v; `detach_reset`, whether the reset's share
of that is left out; `learn`, names of their own constants that are learned as weights are, a number for all neurons or
one each. A learned constant is "<layer>.<name>" among the network's parameters, kept as it is, so that a step may take
it where it is not allowed, such as a threshold to 0: the next call then refuses it by name.
"""

from evsim.training.analog import fit_analog
from evsim.training.backward import Backward, forward
from evsim.training.eventprop import EventBackward, EventSequential
from evsim.training.losses import (
    BCEWithLogits,
    CountCrossEntropy,
    FirstSpike,
    Loss,
    MeanCrossEntropy,
    RateCrossEntropy,
    RateMSE,
    RateRegulariser,
    SpikeTimeCrossEntropy,
)
from evsim.training.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    clip_gradients,
)
from evsim.training.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    StepLR,
)
from evsim.training.trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BCEWithLogits",
    "Backward",
    "CosineAnnealingLR",
    "CountCrossEntropy",
    "EventBackward",
    "EventSequential",
    "ExponentialLR",
    "FirstSpike",
    "Loss",
    "MeanCrossEntropy",
    "Optimizer",
    "RateCrossEntropy",
    "RateMSE",
    "RateRegulariser",
    "SpikeTimeCrossEntropy",
    "StepLR",
    "Trainer",
    "clip_gradients",
    "fit_analog",
    "forward",
]
