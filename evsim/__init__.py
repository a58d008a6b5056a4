"""evsim: an event-driven spiking-network simulator."""

from evsim._version import __version__ as __version__
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
from evsim.network import Network
from evsim.neurons import IAF, LIF
from evsim.simulation import Simulation
