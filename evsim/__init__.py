"""evsim: an event-driven spiking-network simulator."""

from evsim import decoding, encoders, labelling, nir, sinabs, snntorch, spikingjelly, training
from evsim._version import __version__
from evsim.accuracy import AccuracyOverTime, accuracy_over_time
from evsim.analog import AnalogNetwork, BatchNorm, Dropout, ReLU
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput
from evsim.batches import batches
from evsim.compare import compare_activations
from evsim.connectivity import (
    all_to_all,
    explicit,
    fixed_indegree,
    fixed_outdegree,
    fixed_total_number,
    one_to_one,
    pairwise_bernoulli,
)
from evsim.convert import Converted, convert
from evsim.distributions import lognormal, normal, uniform
from evsim.early_exit import predict_early
from evsim.io.events import read_event_stream, write_event_stream
from evsim.io.recording import open_recording
from evsim.layers import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, MaxPool2d, Recurrent, SumPool2d
from evsim.network import Network
from evsim.neurons import IAF, LIF
from evsim.nir_export import NIRWarning, to_nir
from evsim.nir_import import from_nir
from evsim.nir_network import NIRNetwork
from evsim.operations import Operations, count_operations
from evsim.plasticity import PairSTDP
from evsim.saved_network import from_state_dict, load_network, to_state_dict
from evsim.sequential import Sequential
from evsim.simulation import Simulation
from evsim.step_neurons import SpikingNeuron
from evsim.surrogates import (
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
from evsim.training import (
    SGD,
    Adam,
    AdamW,
    BCEWithLogits,
    CosineAnnealingLR,
    CountCrossEntropy,
    EventSequential,
    ExponentialLR,
    FirstSpike,
    Loss,
    MeanCrossEntropy,
    Optimizer,
    RateCrossEntropy,
    RateMSE,
    RateRegulariser,
    SpikeTimeCrossEntropy,
    StepLR,
    Trainer,
    clip_gradients,
)

__all__ = [
    "IAF",
    "LIF",
    "SGD",
    "ATan",
    "AccuracyOverTime",
    "Adam",
    "AdamW",
    "AnalogNetwork",
    "AvgPool2d",
    "BCEWithLogits",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Converted",
    "CosineAnnealingLR",
    "CountCrossEntropy",
    "Dropout",
    "EventInput",
    "EventSequential",
    "ExponentialLR",
    "FastSigmoid",
    "FirstSpike",
    "Flatten",
    "Linear",
    "Loss",
    "MaxPool2d",
    "MeanCrossEntropy",
    "NIRNetwork",
    "NIRWarning",
    "Network",
    "Operations",
    "Optimizer",
    "PairSTDP",
    "PiecewiseQuadratic",
    "PoissonInput",
    "RateCrossEntropy",
    "RateMSE",
    "RateRegulariser",
    "ReLU",
    "Recurrent",
    "RepeatedInput",
    "Sequential",
    "Sigmoid",
    "Simulation",
    "SingleExponential",
    "SoftSign",
    "SpikeTimeCrossEntropy",
    "SpikingNeuron",
    "StepLR",
    "StraightThrough",
    "SumPool2d",
    "Surrogate",
    "Trainer",
    "Triangle",
    "__version__",
    "accuracy_over_time",
    "all_to_all",
    "batches",
    "clip_gradients",
    "compare_activations",
    "convert",
    "count_operations",
    "decoding",
    "encoders",
    "explicit",
    "fixed_indegree",
    "fixed_outdegree",
    "fixed_total_number",
    "from_nir",
    "from_state_dict",
    "labelling",
    "load_network",
    "lognormal",
    "nir",
    "normal",
    "one_to_one",
    "open_recording",
    "pairwise_bernoulli",
    "predict_early",
    "read_event_stream",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "to_nir",
    "to_state_dict",
    "training",
    "uniform",
    "write_event_stream",
]
