"""Learning in layered networks by gradients: what stands in for a spike's derivative, losses, optimisers."""

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
from evsim.training.surrogates import (
    ATan,
    FastSigmoid,
    PiecewiseQuadratic,
    Sigmoid,
    SingleExponential,
    SoftSign,
    StraightThrough,
    Surrogate,
    Triangle,
)

__all__ = [
    "SGD",
    "ATan",
    "Adam",
    "AdamW",
    "BCEWithLogits",
    "CosineAnnealingLR",
    "CountCrossEntropy",
    "ExponentialLR",
    "FastSigmoid",
    "FirstSpike",
    "Loss",
    "MeanCrossEntropy",
    "Optimizer",
    "PiecewiseQuadratic",
    "RateCrossEntropy",
    "RateMSE",
    "RateRegulariser",
    "Sigmoid",
    "SingleExponential",
    "SoftSign",
    "StepLR",
    "StraightThrough",
    "Surrogate",
    "Triangle",
    "clip_gradients",
]
