"""evsim: an event-driven spiking-network simulator."""

from evsim import labelling
from evsim._version import __version__
from evsim.connectivity import (
    all_to_all,
    explicit,
    fixed_indegree,
    fixed_outdegree,
    fixed_total_number,
    one_to_one,
    pairwise_bernoulli,
)
from evsim.distributions import lognormal, normal, uniform
from evsim.io.recording import open_recording
from evsim.network import Network
from evsim.neurons import IAF, LIF
from evsim.plasticity import PairSTDP
from evsim.simulation import Simulation

__all__ = [
    "IAF",
    "LIF",
    "Network",
    "PairSTDP",
    "Simulation",
    "__version__",
    "all_to_all",
    "explicit",
    "fixed_indegree",
    "fixed_outdegree",
    "fixed_total_number",
    "labelling",
    "lognormal",
    "normal",
    "one_to_one",
    "open_recording",
    "pairwise_bernoulli",
    "uniform",
]
