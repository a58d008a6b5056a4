"""Learning in layered networks by gradients: backpropagation through time, losses, optimisers, the Trainer."""

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
    "forward",
]
