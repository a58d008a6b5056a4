"""The Brunel network with plastic exc-exc synapses in Brian2's C++ standalone mode: the peer of evsim's STDP benchmark.

The network of `brian2_brunel` with a weaker drive, for about 10 Hz. The synapses among excitatory neurons follow the
STDP example of Brian2's documentation, with traces of every synapse that are advanced when a spike arrives::

    pre spike arrives:  v_post += w;  x += a_plus;   w = clip(w + y, 0, w_max)
    post spike:         y -= a_minus;                w = clip(w + x, 0, w_max)

The values are those of `nest_stdp`: w_max twice the initial weight, a_plus = 0.01 w_max, a_minus = 1.05 a_plus, both
time constants 20 ms. The delay is on the axon.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np
from brian2_brunel import DELAY, EXC_INPUTS, INH_INPUTS, WEIGHT, G, connect_static, measure, parse_arguments

W_MAX = 2.0 * WEIGHT
A_PLUS = 0.01 * W_MAX
A_MINUS = 1.05 * A_PLUS
TAU = 20.0 * b2.ms


def connect(neurons: b2.NeuronGroup, n_exc: int) -> list[b2.Synapses]:
    """Make the synapses between the neurons, the plastic ones first."""
    exc, inh = neurons[:n_exc], neurons[n_exc:]
    plastic = b2.Synapses(
        exc,
        exc,
        """w : volt
        dx/dt = -x / tau : volt (event-driven)
        dy/dt = -y / tau : volt (event-driven)""",
        on_pre="v_post += w; x += a_plus; w = clip(w + y, 0*volt, w_max)",
        on_post="y -= a_minus; w = clip(w + x, 0*volt, w_max)",
        delay={"pre": DELAY},
        namespace={"tau": TAU, "a_plus": A_PLUS, "a_minus": A_MINUS, "w_max": W_MAX},
    )
    plastic.connect(i=f"int(rand() * N_pre) for _ in range({EXC_INPUTS})")
    plastic.w = WEIGHT
    return [
        plastic,
        connect_static(exc, inh, EXC_INPUTS, WEIGHT),
        connect_static(inh, neurons, INH_INPUTS, -G * WEIGHT),
    ]


def describe(synapses: list[b2.Synapses]) -> dict[str, float]:
    """Mean and standard deviation of the plastic weights, mV."""
    weights = np.asarray(synapses[0].w[:] / b2.mV)
    return {"weight_mean": round(float(weights.mean()), 6), "weight_std": round(float(weights.std()), 6)}


if __name__ == "__main__":
    measure(parse_arguments(__doc__, rate=10_600.0), connect, describe)
