"""evsim: an event-driven spiking-network simulator."""

from evsim import decoding, encoders, labelling
from evsim._version import __version__
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput
from evsim.batches import batches
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
from evsim.io.events import read_event_stream, write_event_stream
from evsim.io.recording import open_recording
from evsim.network import Network
from evsim.neurons import IAF, LIF
from evsim.plasticity import PairSTDP
from evsim.simulation import Simulation

__all__ = [
    "IAF",
    "LIF",
    "EventInput",
    "Network",
    "PairSTDP",
    "PoissonInput",
    "RepeatedInput",
    "Simulation",
    "__version__",
    "all_to_all",
    "batches",
    "decoding",
    "encoders",
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
    "read_event_stream",
    "uniform",
    "write_event_stream",
]
