"""Training of layered networks by backpropagation through time."""

from evsim.training.backward import Backward, forward

__all__ = ["Backward", "forward"]
