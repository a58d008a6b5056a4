"""Networks in the sizes and drives that spice (github.com/denniskb/spice) is measured with."""

import evsim


def brunel(synapses: float, seed: int = 1) -> evsim.Network:
    """Half of the neurons are Poisson sources of 20 Hz, four tenths excitatory, a tenth inhibitory.

    Sources and neurons project to a tenth of all neurons (here each neuron has exactly that many inputs), over a delay
    of 1.5 ms, with weights that fall with the size: 0.1 mV and -0.5 mV times 20,000 / (all neurons). About 33 Hz.
    """
    half = round((synapses / 0.2) ** 0.5)  # two projections to half neurons, a tenth of half inputs each
    weight = 0.1 * 20_000 / (2 * half)
    net = evsim.Network(dt=0.1, seed=seed)
    source = evsim.LIF(tau_mem=1.0, v_threshold=1.0)  # spikes whenever its stimulus does
    lif = evsim.LIF(tau_mem=20.0, v_threshold=20.0, v_reset=0.0, t_ref=2.0)
    poisson = net.add_population("poisson", half, source)
    exc = net.add_population("exc", half * 4 // 5, lif)
    inh = net.add_population("inh", half - exc.size, lif)
    net.add_poisson("trains", poisson, rate=20.0, weight=2.0)
    net.connect(poisson, [exc, inh], evsim.fixed_indegree(max(half // 10, 1)), weight=weight, delay=1.5)
    net.connect(exc, [exc, inh], evsim.fixed_indegree(max(exc.size // 10, 1)), weight=weight, delay=1.5)
    net.connect(inh, [exc, inh], evsim.fixed_indegree(max(inh.size // 10, 1)), weight=-5.0 * weight, delay=1.5)
    return net
