"""Spike for spike and mV for mV against NEST: golden data of tests/data/make_nest_golden.py.

NEST's step n is evsim's step n - 1: NEST calls the initial state step 0, evsim the first update.
"""

from pathlib import Path

import numpy as np
import pytest

from evsim import LIF, Network, Simulation, explicit

DATA = Path(__file__).parent / "data"


def load(model):
    with np.load(DATA / f"nest_{model}.npz") as file:
        return {name: file[name] for name in file.files}


def as_evsim(golden):
    """The golden network, and its population of neurons."""
    dt = float(golden["dt"])
    exponential = "tau_syn_ex" in golden
    net = Network(dt=dt)
    model = LIF(
        tau_mem=float(golden["tau_m"]),
        tau_syn=(float(golden["tau_syn_ex"]), float(golden["tau_syn_in"])) if exponential else None,
        v_leak=float(golden["E_L"]),
        v_threshold=float(golden["V_th"]),
        v_reset=float(golden["V_reset"]),
        t_ref=float(golden["t_ref"]),
        r_mem=float(golden["tau_m"] / golden["C_m"]),
        i_bias=golden["I_e"],
    )
    neurons = net.add_population("neurons", golden["I_e"].size, model, v=golden["v_initial"])
    n_generators = int(golden["train_generator"].max()) + 1
    trains = net.add_spike_source("trains", n_generators, golden["train_generator"], (golden["train_step"] - 1) * dt)
    for kind, source in (("input", trains), ("synapse", neurons)):
        weight = golden[f"{kind}_weight"]
        for part in (weight >= 0.0, weight < 0.0) if exponential else (np.ones(weight.size, bool),):
            net.connect(
                source,
                neurons,
                explicit(golden[f"{kind}_pre"][part], golden[f"{kind}_post"][part]),
                weight=weight[part],
                delay=golden[f"{kind}_delay_steps"][part] * dt,
            )
    return net, neurons


@pytest.mark.parametrize("model", ["iaf_psc_delta", "iaf_psc_exp"])
def test_spikes_and_v_are_those_of_nest(model):
    golden = load(model)
    net, neurons = as_evsim(golden)
    sim = Simulation(net, threads=1)
    sim.record(spikes=neurons, state={neurons: "v"})
    sim.run(int(golden["n_steps"]) * net.dt)

    ids, times = sim.spikes(neurons)
    assert ids.size > 1000
    np.testing.assert_array_equal(np.rint(times / net.dt).astype(int) + 1, golden["spike_step"])
    np.testing.assert_array_equal(ids, golden["spike_neuron"])
    v = sim.state(neurons).values[:, golden["v_neuron"]]
    np.testing.assert_allclose(v, golden["v"], rtol=0.0, atol=1e-3)
