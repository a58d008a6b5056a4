"""Learning in layered networks by gradients: backpropagation through time, losses, optimisers, the Trainer."""

from evsim.training.analog import fit_analog
from evsim.training.backward import Backward, forward
from evsim.training.losses import (
    BCEWithLogits,
    CountCrossEntropy,
    FirstSpike,
    Loss,
    MeanCrossEntropy,
    RateCrossEntropy,
    RateMSE,
    RateRegulariser,
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
    "ExponentialLR",
    "FirstSpike",
    "Loss",
    "MeanCrossEntropy",
    "Optimizer",
    "RateCrossEntropy",
    "RateMSE",
    "RateRegulariser",
    "StepLR",
    "Trainer",
    "clip_gradients",
    "fit_analog",
    "forward",
]
