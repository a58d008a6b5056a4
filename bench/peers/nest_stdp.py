"""The Brunel network with plastic exc-exc synapses in NEST: the peer of evsim's own STDP benchmark.

The network of `nest_brunel` with a weaker drive, for about 10 Hz. The synapses among excitatory neurons follow
NEST's stdp_synapse in its additive form (mu_plus = mu_minus = 0), from the initial weight w0 = 0.1 mV::

    potentiation by lambda Wmax, depression by alpha lambda Wmax, each times the other side's trace
    Wmax = 2 w0,  lambda = 0.01,  alpha = 1.05,  tau_plus = tau_minus = 20 ms

All pairs of spikes count. NEST places the delay on the dendrite: a pre spike acts on the weight when it is emitted, a
post spike after the delay.
"""

from __future__ import annotations

import numpy as np
from nest_brunel import DELAY, EXC_INPUTS, INH_INPUTS, NEURON, WEIGHT, G, measure, parse_arguments

W_MAX, LAMBDA, ALPHA, TAU = 2.0 * WEIGHT, 0.01, 1.05, 20.0  # mV, -, -, ms
STDP = {
    "synapse_model": "stdp_synapse",
    "Wmax": W_MAX,
    "lambda": LAMBDA,
    "alpha": ALPHA,
    "mu_plus": 0.0,
    "mu_minus": 0.0,
    "tau_plus": TAU,
}
SAMPLE = 200  # neurons whose incoming weights are described


def connect(nest, populations: dict) -> None:
    """Make the synapses between the neurons."""
    exc, inh = populations["exc"], populations["inh"]
    from_exc = {"rule": "fixed_indegree", "indegree": EXC_INPUTS}
    from_inh = {"rule": "fixed_indegree", "indegree": INH_INPUTS}
    nest.Connect(exc, exc, from_exc, {**STDP, "weight": WEIGHT, "delay": DELAY})
    nest.Connect(exc, inh, from_exc, {"weight": WEIGHT, "delay": DELAY})
    nest.Connect(inh, exc + inh, from_inh, {"weight": -G * WEIGHT, "delay": DELAY})


def describe(nest, populations: dict) -> dict[str, float]:
    """Mean and standard deviation of the plastic weights onto some neurons, mV."""
    exc = populations["exc"]
    synapses = nest.GetConnections(target=exc[: min(SAMPLE, len(exc))], synapse_model="stdp_synapse")
    weights = np.array(synapses.get("weight"))
    return {"weight_mean": round(float(weights.mean()), 6), "weight_std": round(float(weights.std()), 6)}


if __name__ == "__main__":
    measure(parse_arguments(__doc__, rate=10_600.0), connect, {**NEURON, "tau_minus": TAU}, describe)
