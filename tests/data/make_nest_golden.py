"""Make nest_iaf_psc_delta.npz and nest_iaf_psc_exp.npz: NEST's own spikes and potentials of a small network.

100 neurons (80 excitatory, 20 inhibitory, self-connections and repeated connections included) are driven by
40 generators with fixed spike trains; nothing in NEST is random. Run with NEST's Python::

    .venv-peers/bin/python tests/data/make_nest_golden.py

NEST's conventions, asserted here against `reference`, a plain NumPy simulation:

- Step n is the time n * dt; ``v_initial`` is the state of step 0; a spike in step s over d steps arrives in
  step s + d.
- iaf_psc_delta: input that arrives in step n is added to v in step n, before the threshold is tested.
- iaf_psc_exp: input that arrives in step n is added to the current at the end of step n, so v first feels it
  in step n + 1. Weights >= 0 go to the excitatory current, others to the inhibitory one.
- A neuron fires when v >= V_th and is reset at once; v then stays for the next round(t_ref / dt) steps. Input
  that arrives in these steps is lost in iaf_psc_delta; the currents of iaf_psc_exp go on.

The seeds were searched for networks that rounding cannot change: |v - V_th| > ``MARGIN`` in every step that
tests the threshold, so a simulator in single precision must give the same spikes.

Arrays (steps are integers): dt, n_steps; C_m (pF), tau_m, t_ref, tau_syn_ex, tau_syn_in (ms), E_L, V_th,
V_reset (mV), I_e (pA, a neuron each), v_initial (mV); input_pre (generator), input_post, input_weight,
input_delay_steps; synapse_pre, synapse_post, synapse_weight, synapse_delay_steps (weights in mV for delta, pA
for exp); train_generator, train_step; and from NEST spike_neuron, spike_step (ordered by step, then neuron),
v_neuron and v (n_steps, len(v_neuron)), the potential after the reset in the steps 1 .. n_steps.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

DT = 0.1  # ms
N_STEPS = 10_000
N_NEURONS, N_EXC, N_GENERATORS = 100, 80, 40
INPUTS, SYNAPSES = 8, 15  # a neuron
MAX_DELAY = 50  # steps
V_NEURONS = np.array([0, 17, 42, 68, 95])
MARGIN = 5e-4  # mV

SEED = {"iaf_psc_delta": 256, "iaf_psc_exp": 957}
PARAMETERS = {  # pF, ms, ms, mV, mV, mV; exp also ms, ms
    "iaf_psc_delta": {
        "C_m": 200.0,
        "tau_m": 15.0,
        "t_ref": 1.7,
        "E_L": -65.0,
        "V_th": -52.0,
        "V_reset": -67.0,
    },
    "iaf_psc_exp": {
        "C_m": 250.0,
        "tau_m": 10.0,
        "t_ref": 2.0,
        "E_L": -65.0,
        "V_th": -50.0,
        "V_reset": -62.0,
        "tau_syn_ex": 0.5,
        "tau_syn_in": 2.0,
    },
}
WEIGHT_SCALE = {"iaf_psc_delta": 0.8, "iaf_psc_exp": 600.0}  # mV; pA for about 1 mV at the peak


def make_network(model: str, seed: int) -> dict[str, np.ndarray]:
    """Draw the network, the trains and the initial state; the keys are those of the file."""
    rng = np.random.default_rng(seed)
    parameters = PARAMETERS[model]
    scale = WEIGHT_SCALE[model]
    n_inputs, n_synapses = N_NEURONS * INPUTS, N_NEURONS * SYNAPSES

    rheobase = (parameters["V_th"] - parameters["E_L"]) * parameters["C_m"] / parameters["tau_m"]
    current = np.where(np.arange(N_NEURONS) % 4 == 0, rng.uniform(-0.3, 0.4, N_NEURONS) * rheobase, 0.0)
    synapse_pre = rng.integers(N_NEURONS, size=n_synapses)
    inhibitory = synapse_pre >= N_EXC
    input_pre = rng.integers(N_GENERATORS, size=n_inputs)
    sign = np.where(input_pre % 8 == 7, -1.0, 1.0)
    trains = [np.flatnonzero(rng.random(N_STEPS) < 25.0 * DT * 1e-3) + 1 for _ in range(N_GENERATORS)]
    return {
        "dt": np.array(DT),
        "n_steps": np.array(N_STEPS),
        **{name: np.array(value) for name, value in parameters.items()},
        "I_e": current,
        "v_initial": rng.uniform(parameters["E_L"] - 3.0, parameters["V_th"] - 1.0, N_NEURONS),
        "input_pre": input_pre,
        "input_post": np.repeat(np.arange(N_NEURONS), INPUTS),
        "input_weight": sign * scale * rng.uniform(2.0, 8.0, n_inputs),
        "input_delay_steps": rng.integers(1, MAX_DELAY + 1, size=n_inputs),
        "synapse_pre": synapse_pre,
        "synapse_post": np.repeat(np.arange(N_NEURONS), SYNAPSES),
        "synapse_weight": np.where(inhibitory, -1.0, 1.0) * scale * rng.uniform(0.3, 2.0, n_synapses),
        "synapse_delay_steps": rng.integers(1, MAX_DELAY + 1, size=n_synapses),
        "train_generator": np.repeat(np.arange(N_GENERATORS), [len(train) for train in trains]),
        "train_step": np.concatenate(trains),
    }


def reference(model: str, net: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Simulate in NumPy: spike neurons and steps, v (n_steps, n_neurons), smallest tested |v - V_th|."""
    delta = model == "iaf_psc_delta"
    c_m, tau_m, rest = net["C_m"], net["tau_m"], net["E_L"]
    tau_syn = np.array([1.0, 1.0] if delta else [net["tau_syn_ex"], net["tau_syn_in"]])
    decay_v, decay_i = np.exp(-DT / tau_m), np.exp(-DT / tau_syn)
    coupling = tau_m * tau_syn / (c_m * (tau_syn - tau_m)) * (decay_i - decay_v)
    drive = net["I_e"] * tau_m / c_m * (1.0 - decay_v)

    arriving = np.zeros((N_STEPS + MAX_DELAY + 1, 2, N_NEURONS))  # step, receptor (exc, inh), neuron
    for generator, step in zip(net["train_generator"], net["train_step"], strict=True):
        deliver(arriving, net, "input", generator, step)

    v, i = net["v_initial"] - rest, np.zeros((2, N_NEURONS))
    refractory = np.zeros(N_NEURONS, dtype=int)
    spikes, trace, margin = [], np.empty((N_STEPS, N_NEURONS)), np.inf
    for step in range(1, N_STEPS + 1):
        active = refractory == 0
        kick = arriving[step].sum(axis=0) if delta else coupling @ i
        v = np.where(active, decay_v * v + kick + drive, v)
        i = decay_i[:, None] * i + arriving[step]
        refractory = np.where(active, 0, refractory - 1)
        margin = min(margin, np.abs(v - (net["V_th"] - rest))[active].min(initial=np.inf))
        fired = np.flatnonzero(active & (v >= net["V_th"] - rest))
        v[fired] = net["V_reset"] - rest
        refractory[fired] = round(float(net["t_ref"]) / DT)
        for neuron in fired:
            deliver(arriving, net, "synapse", neuron, step)
            spikes.append((neuron, step))
        trace[step - 1] = v + rest
    neurons, steps = np.array(spikes).T
    return neurons, steps, trace, margin


def deliver(arriving: np.ndarray, net: dict[str, np.ndarray], kind: str, pre: int, step: int) -> None:
    """Add the weights of all connections from ``pre`` to what arrives later (``arriving`` is changed)."""
    row = np.flatnonzero(net[f"{kind}_pre"] == pre)
    weight, post = net[f"{kind}_weight"][row], net[f"{kind}_post"][row]
    arrival = step + net[f"{kind}_delay_steps"][row]
    seen = arrival < len(arriving)
    np.add.at(arriving, (arrival[seen], (weight[seen] < 0.0).astype(int), post[seen]), weight[seen])


def simulate_nest(model: str, net: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate in NEST: spike neurons, spike steps and v (n_steps, len(V_NEURONS))."""
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = DT
    neurons = nest.Create(model, N_NEURONS, PARAMETERS[model])
    neurons.set([{"I_e": i, "V_m": v} for i, v in zip(net["I_e"], net["v_initial"], strict=True)])
    generators = nest.Create("spike_generator", N_GENERATORS)
    for number, generator in enumerate(generators):
        steps = net["train_step"][net["train_generator"] == number]
        generator.spike_times = np.round(steps * DT, 1)
    for kind, sources in (("input", generators), ("synapse", neurons)):
        nest.Connect(
            np.array(sources.tolist())[net[f"{kind}_pre"]],
            np.array(neurons.tolist())[net[f"{kind}_post"]],
            "one_to_one",
            {"weight": net[f"{kind}_weight"], "delay": np.round(net[f"{kind}_delay_steps"] * DT, 1)},
        )
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    meter = nest.Create("multimeter", params={"interval": DT, "record_from": ["V_m"]})
    nest.Connect(meter, neurons[V_NEURONS.tolist()])
    nest.Simulate(N_STEPS * DT + 1.0)  # the multimeter hands over its last values late

    first = neurons[0].global_id
    spike_step = np.rint(recorder.events["times"] / DT).astype(int)
    spike_neuron = recorder.events["senders"] - first
    order = np.lexsort((spike_neuron, spike_step))
    order = order[spike_step[order] <= N_STEPS]
    v = np.full((N_STEPS, len(V_NEURONS)), np.nan)
    step = np.rint(meter.events["times"] / DT).astype(int)
    column = np.searchsorted(V_NEURONS, meter.events["senders"] - first)
    inside = step <= N_STEPS
    v[step[inside] - 1, column[inside]] = meter.events["V_m"][inside]
    return spike_neuron[order], spike_step[order], v


def main() -> None:
    """Make both files, after checking NEST against the reference."""
    for model, seed in SEED.items():
        net = make_network(model, seed)
        neurons, steps, trace, margin = reference(model, net)
        spike_neuron, spike_step, v = simulate_nest(model, net)
        rate = len(spike_neuron) / N_NEURONS / (N_STEPS * DT * 1e-3)
        difference = np.abs(v - trace[:, V_NEURONS]).max()
        print(f"{model}: {rate:.2f} Hz, margin {margin:.2e} mV, v equal to {difference:.1e} mV")
        np.testing.assert_array_equal(spike_neuron, neurons)
        np.testing.assert_array_equal(spike_step, steps)
        assert difference < 1e-9
        assert margin > MARGIN
        assert 5.0 < rate < 50.0

        for name, array in net.items():
            if array.dtype.kind == "i" and array.ndim:
                net[name] = array.astype(np.int32)
        path = Path(__file__).with_name(f"nest_{model}.npz")
        np.savez_compressed(
            path,
            **net,
            spike_neuron=spike_neuron.astype(np.int32),
            spike_step=spike_step.astype(np.int32),
            v_neuron=V_NEURONS.astype(np.int32),
            v=v,
        )
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
