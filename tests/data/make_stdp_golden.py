"""Make stdp_spikingjelly.npz, stdp_bindsnet.npz and stdp_brian2.npz: what the peers' STDP makes of given spikes.

All-to-all synapses from 8 to 5 neurons, 200 steps of 1 ms. The spikes of both sides are imposed: dense, with bursts,
silent stretches, many coincidences, and one neuron on each side that never spikes. Run with the peers' Pythons::

    .venv-peers-torch/bin/python tests/data/make_stdp_golden.py spikingjelly bindsnet
    .venv-peers/bin/python tests/data/make_stdp_golden.py brian2

Below, s and z are the spikes (0 or 1) of a step before (i) and behind (j) a synapse, x and y their traces, in the
order in which the peers work on them in one step. `reference_...` says the same in NumPy and is asserted to agree.

SpikingJelly 0.0.0.0.14, STDPLearner, float64. No bounds: the user clips. dw is added to w after every step (cases
identity, constant, soft), or after chunks of `chunk` steps through which w stays (multi_step, step mode "m")::

    x_i <- x_i - x_i / tau_pre + s_i              y_j <- y_j - y_j / tau_post + z_j
    dw_ij = f_post(w_ij) x_i z_j - f_pre(w_ij) y_j s_i        both terms of the old w, and of the new traces

- identity, multi_step: f_pre(w) = f_post(w) = w and dw is scaled by `rate`
- constant: f_pre = a_minus, f_post = a_plus
- soft: f_pre = rate w, f_post = rate (1 - w)

BindsNET 0.3.4, float32. Cases set (traces set to 1 by a spike) and add (1 added), both with PostPre, and soft, with
WeightDependentPostPre and traces that are set. nu = (nu_pre, nu_post)::

    x_i <- x_i exp(-dt / tau_pre)                 y_j <- y_j exp(-dt / tau_post)
    x_i <- 1 or x_i + 1 where s_i                 y_j <- 1 or y_j + 1 where z_j
    PostPre: w_ij <- w_ij - nu_pre y_j s_i        then       w_ij <- w_ij + nu_post x_i z_j
    soft:    w_ij <- w_ij - nu_pre y_j s_i (w_ij - w_min) + nu_post x_i z_j (w_max - w_ij)     both of the old w
    w_ij <- min(max(w_ij, w_min), w_max)          once, after both terms

A pre spike counts in the step of its emission, although its current arrives a step later. (Normalisation comes at the
end of a call of run, not of a step; it is off here.)

Brian2 2.9, the pair rule of its documentation with event-driven traces of each synapse, float64. The pathway of pre
spikes runs before that of post spikes, each with its own clipping; a spike of step n over d steps of delay is a pre
spike of step n + d, also for x. Cases no_delay, delay (the same for all synapses) and delays (one for each)::

    x_ij <- x_ij exp(-dt / tau_pre)               y_ij <- y_ij exp(-dt / tau_post)
    where a pre spike arrives:  x_ij <- x_ij + a_pre;   w_ij <- clip(w_ij + y_ij, 0, w_max)
    where z_j:                  y_ij <- y_ij + a_post;  w_ij <- clip(w_ij + x_ij, 0, w_max)

So in Brian2 a coincident pair counts once, as pre before post: the pre term sees y without this step's spike, the
post term sees x with it. In SpikingJelly and BindsNET it counts in both terms.

Arrays of each file: dt (ms); pre_spikes (n_steps, n_pre) and post_spikes (n_steps, n_post) bool; w_initial (n_pre,
n_post); the parameters of the rule, tau_pre and tau_post in steps for SpikingJelly, ms otherwise; steps (n,) and for
each case w_<case> (n, n_pre, n_post), the weights after those steps (in multi_step they change in steps 9, 19, ...).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

DT = 1.0  # ms
N_STEPS, N_PRE, N_POST = 200, 8, 5
STEPS = np.array([0, 1, 2, 4, 9, 19, 49, 99, 149, 199])
CHUNK = 10  # steps
SILENT_PRE, SILENT_POST = 7, 4

SPIKINGJELLY = {"tau_pre": 20.0, "tau_post": 30.0, "rate": 0.002, "a_plus": 0.004, "a_minus": 0.003, "chunk": CHUNK}
BINDSNET = {"tau_pre": 20.0, "tau_post": 30.0, "nu_pre": 0.02, "nu_post": 0.03, "w_min": 0.0, "w_max": 1.0}
BRIAN2 = {"tau_pre": 20.0, "tau_post": 30.0, "a_pre": 0.02, "a_post": -0.014, "w_max": 1.0, "delay_steps": 3}
MAX_DELAY = 5  # steps

Weights = dict[str, np.ndarray]  # case -> (N_STEPS, N_PRE, N_POST), the weights after each step


def make_inputs() -> dict[str, np.ndarray]:
    """Draw the spikes, the initial weights and Brian2's delays."""
    rng = np.random.default_rng(11)
    sides = {}
    for name, size, silent in (("pre_spikes", N_PRE, SILENT_PRE), ("post_spikes", N_POST, SILENT_POST)):
        chance = np.full((N_STEPS, size), 0.12)
        chance[60:90] = 0.5  # bursts of all
        chance[110:140] = 0.0
        chance[:, 0] = np.where(np.arange(N_STEPS) % 50 < 8, 1.0, 0.0)  # bursts of one
        chance[:, silent] = 0.0
        sides[name] = rng.random((N_STEPS, size)) < chance
    sides["pre_spikes"][:3, 1] = sides["post_spikes"][:3, 1] = True  # coincidences from the first step on
    w_initial = rng.random((N_PRE, N_POST))
    w_initial[2, 2], w_initial[3, 3] = 0.0, 1.0
    delay_steps = rng.integers(1, MAX_DELAY + 1, (N_PRE, N_POST))
    return {"dt": np.array(DT), **sides, "w_initial": w_initial, "synapse_delay_steps": delay_steps}


def both_sides(inputs: dict[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each step with its spikes s (N_PRE, 1) and z (N_POST,), as floats."""
    for n in range(N_STEPS):
        yield n, inputs["pre_spikes"][n, :, None].astype(float), inputs["post_spikes"][n].astype(float)


def spikingjelly_rules() -> dict[str, tuple[Callable, Callable, float, int]]:
    """For each case f_pre, f_post, scale of dw and steps between updates of w."""
    p = SPIKINGJELLY
    return {
        "identity": (lambda w: w, lambda w: w, p["rate"], 1),
        "constant": (lambda w: p["a_minus"], lambda w: p["a_plus"], 1.0, 1),
        "soft": (lambda w: p["rate"] * w, lambda w: p["rate"] * (1.0 - w), 1.0, 1),
        "multi_step": (lambda w: w, lambda w: w, p["rate"], CHUNK),
    }


def reference_spikingjelly(inputs: dict[str, np.ndarray]) -> Weights:
    """The equations above."""
    weights = {}
    for case, (f_pre, f_post, scale, chunk) in spikingjelly_rules().items():
        w, x, y, history = inputs["w_initial"].copy(), np.zeros((N_PRE, 1)), np.zeros(N_POST), []
        dw = np.zeros_like(w)
        for n, s, z in both_sides(inputs):
            x = x - x / SPIKINGJELLY["tau_pre"] + s
            y = y - y / SPIKINGJELLY["tau_post"] + z
            dw = dw + f_post(w) * x * z - f_pre(w) * y * s
            if (n + 1) % chunk == 0:
                w, dw = w + scale * dw, np.zeros_like(w)
            history.append(w)
        weights[case] = np.array(history)
    return weights


def run_spikingjelly(inputs: dict[str, np.ndarray]) -> Weights:
    """What STDPLearner makes of the spikes, put where its monitors would have kept them."""
    import torch
    from spikingjelly.activation_based import learning, neuron

    weights = {}
    pre, post = (torch.from_numpy(inputs[name]).double()[:, None] for name in ("pre_spikes", "post_spikes"))
    for case, (f_pre, f_post, scale, chunk) in spikingjelly_rules().items():
        layer = torch.nn.Linear(N_PRE, N_POST, bias=False).double()
        layer.weight.data = torch.from_numpy(inputs["w_initial"].T.copy())
        taus = {name: SPIKINGJELLY[name] for name in ("tau_pre", "tau_post")}
        mode = "s" if chunk == 1 else "m"
        learner = learning.STDPLearner(mode, layer, neuron.IFNode(), **taus, f_pre=f_pre, f_post=f_post)
        history = []
        for n in range(0, N_STEPS, chunk):
            part = n if mode == "s" else slice(n, n + chunk)
            history += [layer.weight.data.T.numpy().copy()] * (chunk - 1)
            learner.in_spike_monitor.records.append(pre[part])
            learner.out_spike_monitor.records.append(post[part])
            layer.weight.data += learner.step(on_grad=False, scale=scale)
            history.append(layer.weight.data.T.numpy().copy())
        weights[case] = np.array(history)
    return weights


def reference_bindsnet(inputs: dict[str, np.ndarray]) -> Weights:
    """The equations above."""
    p, weights = BINDSNET, {}
    for case in ("set", "add", "soft"):
        w, x, y, history = inputs["w_initial"].copy(), np.zeros((N_PRE, 1)), np.zeros(N_POST), []
        for _, s, z in both_sides(inputs):
            x, y = x * np.exp(-DT / p["tau_pre"]), y * np.exp(-DT / p["tau_post"])
            x, y = (x + s, y + z) if case == "add" else (np.where(s, 1.0, x), np.where(z, 1.0, y))
            minus, plus = p["nu_pre"] * y * s, p["nu_post"] * x * z
            if case == "soft":
                minus, plus = minus * (w - p["w_min"]), plus * (p["w_max"] - w)
            w = np.clip(w - minus + plus, p["w_min"], p["w_max"])
            history.append(w)
        weights[case] = np.array(history)
    return weights


def run_bindsnet(inputs: dict[str, np.ndarray]) -> Weights:
    """What BindsNET makes of the spikes: those of the target are clamped."""
    import torch
    from bindsnet.learning import PostPre, WeightDependentPostPre
    from bindsnet.network import Network
    from bindsnet.network.nodes import Input, LIFNodes
    from bindsnet.network.topology import Connection

    p, weights = BINDSNET, {}
    pre = torch.from_numpy(inputs["pre_spikes"])
    post = torch.from_numpy(inputs["post_spikes"])
    for case, rule in (("set", PostPre), ("add", PostPre), ("soft", WeightDependentPostPre)):
        traces = {"traces": True, "traces_additive": case == "add"}
        source = Input(n=N_PRE, tc_trace=p["tau_pre"], **traces)
        target = LIFNodes(n=N_POST, tc_trace=p["tau_post"], thresh=1e9, **traces)
        network = Network(dt=DT)
        network.add_layer(source, "pre")
        network.add_layer(target, "post")
        connection = Connection(
            source, target, update_rule=rule, nu=(p["nu_pre"], p["nu_post"]),
            w=torch.from_numpy(inputs["w_initial"]).float(), wmin=p["w_min"], wmax=p["w_max"],
        )  # fmt: skip
        network.add_connection(connection, "pre", "post")
        history = []
        for n in range(N_STEPS):
            network.run({"pre": pre[n : n + 1]}, time=DT, clamp={"post": post[n : n + 1]})
            history.append(connection.w.numpy().copy())
        weights[case] = np.array(history)
    return weights


def brian2_delays(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each case the delay of every synapse in steps, (N_PRE, N_POST)."""
    each = inputs["synapse_delay_steps"]
    return {
        "no_delay": np.zeros_like(each),
        "delay": np.full_like(each, BRIAN2["delay_steps"]),
        "delays": each,
    }


def reference_brian2(inputs: dict[str, np.ndarray]) -> Weights:
    """The equations above."""
    p, weights = BRIAN2, {}
    decay_x, decay_y = np.exp(-DT / p["tau_pre"]), np.exp(-DT / p["tau_post"])
    for case, delays in brian2_delays(inputs).items():
        w, history = inputs["w_initial"].copy(), []
        x, y = np.zeros_like(w), np.zeros_like(w)
        for n, _, z in both_sides(inputs):
            emitted = n - delays
            arrives = (emitted >= 0) & inputs["pre_spikes"][emitted, np.arange(N_PRE)[:, None]]
            x, y = x * decay_x, y * decay_y
            x = x + p["a_pre"] * arrives
            w = np.where(arrives, np.clip(w + y, 0.0, p["w_max"]), w)
            y = y + p["a_post"] * z
            w = np.where(z, np.clip(w + x, 0.0, p["w_max"]), w)
            history.append(w)
        weights[case] = np.array(history)
    return weights


def run_brian2(inputs: dict[str, np.ndarray]) -> Weights:
    """What Brian2 makes of the spikes of two SpikeGeneratorGroups."""
    import brian2 as b2

    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = DT * b2.ms
    p, weights = BRIAN2, {}
    namespace = {name: p[name] for name in ("a_pre", "a_post", "w_max")}
    namespace.update(tau_pre=p["tau_pre"] * b2.ms, tau_post=p["tau_post"] * b2.ms)
    for case, delays in brian2_delays(inputs).items():
        sides = []
        for name, size in (("pre_spikes", N_PRE), ("post_spikes", N_POST)):
            steps, neurons = np.nonzero(inputs[name])
            sides.append(b2.SpikeGeneratorGroup(size, neurons, steps * DT * b2.ms))
        synapses = b2.Synapses(
            *sides,
            """w : 1
            dx/dt = -x / tau_pre : 1 (event-driven)
            dy/dt = -y / tau_post : 1 (event-driven)""",
            on_pre="x += a_pre; w = clip(w + y, 0, w_max)",
            on_post="y += a_post; w = clip(w + x, 0, w_max)",
            namespace=namespace,
        )
        synapses.connect()
        pairs = np.array(synapses.i), np.array(synapses.j)
        synapses.w = inputs["w_initial"][pairs]
        synapses.pre.delay = delays[pairs] * DT * b2.ms
        monitor = b2.StateMonitor(synapses, "w", record=True, when="end")
        b2.Network(*sides, synapses, monitor).run(N_STEPS * DT * b2.ms)
        weights[case] = np.empty((N_STEPS, N_PRE, N_POST))
        weights[case][(slice(None), *pairs)] = np.array(monitor.w).T
    return weights


PEERS = {
    "spikingjelly": (run_spikingjelly, reference_spikingjelly, SPIKINGJELLY, 1e-12),
    "bindsnet": (run_bindsnet, reference_bindsnet, BINDSNET, 1e-5),
    "brian2": (run_brian2, reference_brian2, BRIAN2, 1e-12),
}


def main() -> None:
    """Make the files of the peers named on the command line, after checking each against its reference."""
    inputs = make_inputs()
    together = np.einsum("ti,tj->", inputs["pre_spikes"].astype(int), inputs["post_spikes"].astype(int))
    print(f"{inputs['pre_spikes'].sum()} pre, {inputs['post_spikes'].sum()} post spikes, {together} coincident pairs")
    for peer in sys.argv[1:]:
        run, reference, parameters, tolerance = PEERS[peer]
        weights, expected = run(inputs), reference(inputs)
        arrays = {name: inputs[name] for name in ("dt", "pre_spikes", "post_spikes", "w_initial")} | parameters
        if peer == "brian2":
            arrays["synapse_delay_steps"] = inputs["synapse_delay_steps"]
        for case, w in weights.items():
            difference = np.abs(w - expected[case]).max()
            moved = np.abs(w[-1] - inputs["w_initial"]).mean()
            print(f"{peer} {case}: as the reference to {difference:.1e}, moved by {moved:.2f} on average")
            assert difference < tolerance
            arrays[f"w_{case}"] = w[STEPS]
        path = Path(__file__).with_name(f"stdp_{peer}.npz")
        np.savez_compressed(path, **arrays, steps=STEPS)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
