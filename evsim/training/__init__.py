"""Learning in layered networks by gradients: what stands in for a spike's derivative, losses, optimisers."""

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
    "ATan",
    "FastSigmoid",
    "PiecewiseQuadratic",
    "Sigmoid",
    "SingleExponential",
    "SoftSign",
    "StraightThrough",
    "Surrogate",
    "Triangle",
]
