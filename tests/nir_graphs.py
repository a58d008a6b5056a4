"""Graphs by hand, nodes of each kind with parameters that differ from neuron to neuron, and their runs.

What imports it is skipped where there is no nir package.
"""

from itertools import pairwise

import numpy as np
import pytest

import evsim

nir = pytest.importorskip("nir")


def full(value, *shape):
    return np.full(shape, value, np.float32)


def graph(nodes, edges, **more):
    """A graph as it stands: evsim checks it, not the package."""
    return nir.NIRGraph(nodes, edges, type_check=False, **more)


def chain(shape, *nodes, out=None):
    """input -> "0" -> "1" -> ... -> output."""
    names = ["input", *map(str, range(len(nodes))), "output"]
    ends = nir.Input(np.array(shape)), nir.Output(None if out is None else np.array(out))
    return graph(dict(zip(names, [ends[0], *nodes, ends[1]], strict=True)), list(pairwise(names)))


def spread(low, high, *shape):
    """Numbers from low to high."""
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.float32)


def neurons(kind, *shape):
    """Neurons of a kind; time constants in seconds, for steps of 1 ms."""
    r, v_leak = spread(0.5, 1.5, *shape), spread(-0.2, 0.1, *shape)
    spiking = {"v_threshold": spread(0.3, 0.6, *shape), "v_reset": spread(-0.1, 0.0, *shape)}
    leaky = {"tau": spread(5e-3, 30e-3, *shape), "r": r, "v_leak": v_leak}
    current = {
        "tau_syn": spread(3e-3, 10e-3, *shape),
        "tau_mem": spread(5e-3, 30e-3, *shape),
        "r": r,
        "v_leak": v_leak,
        "w_in": spread(1.0, 6.0, *shape),
    }
    fast = {"r": spread(100.0, 300.0, *shape)}
    return {
        "I": lambda: nir.I(**fast),
        "IF": lambda: nir.IF(**fast, **spiking),
        "LI": lambda: nir.LI(**leaky),
        "LIF": lambda: nir.LIF(**leaky, **spiking),
        "CubaLI": lambda: nir.CubaLI(**current),
        "CubaLIF": lambda: nir.CubaLIF(**current, **spiking),
    }[kind]()


def run_network(network, x, threads=None):
    """What each Output gives, (T, n): counts of spikes, or v of what does not spike. x: {Input: (T, n)}."""
    n_steps = max(len(each) for each in x.values())
    for name, spikes in x.items():
        network.add_current(f"x {name}", network.inputs[name], np.asarray(spikes, float).reshape(n_steps, -1))
    sim = evsim.Simulation(network, backend="cpu", threads=threads)
    ends = network.outputs
    silent = {p for p in ends.values() if type(p.model).__name__ in ("Readout", "LI", "CubaLI", "I")}
    sim.record(spikes=list({*ends.values()} - silent), state=dict.fromkeys(silent, "v"))
    sim.run(n_steps * network.dt)
    given = {}
    for name, p in ends.items():
        if p in silent:
            given[name] = sim.state(p, "v").values
        else:
            ids, times = sim.spikes(p)
            given[name] = np.zeros((n_steps, p.size))
            np.add.at(given[name], (np.rint(times / network.dt).astype(int), ids), 1)
    return given
