"""The weights that SpikingJelly, BindsNET and Brian2 learn: golden data of tests/data/make_stdp_golden.py.

The postsynaptic neurons repeat a spike source one step late, and every synapse has one step of delay more than in the
golden data, so that step n of the golden data is step n + 1 here.
"""

from pathlib import Path

import numpy as np
import pytest

import evsim

DATA = Path(__file__).parent / "data"


def load(peer):
    with np.load(DATA / f"stdp_{peer}.npz") as file:
        return {name: file[name] for name in file.files}


def learn(golden, rule, delay_steps=0, chunk=1):
    """The weights (n, n_pre, n_post) after the golden steps, which are ends of chunks, each run by itself."""
    n_pre, n_post = golden["w_initial"].shape
    net = evsim.Network(dt=1.0)
    sides = []
    for name, size in (("pre_spikes", n_pre), ("post_spikes", n_post)):
        steps, ids = np.nonzero(golden[name])
        sides.append(net.add_spike_source(name, size, ids, steps * 1.0))
    cells = net.add_population("cells", n_post, evsim.LIF(tau_mem=10.0, v_threshold=1000.0, t_ref=0.0))
    net.connect(sides[1], cells, evsim.one_to_one(), weight=2000.0, delay=1.0)
    pre, post = (index.ravel() for index in np.indices((n_pre, n_post)))
    delay = 1.0 + np.broadcast_to(delay_steps, (n_pre, n_post)).ravel()
    weight = golden["w_initial"].ravel()
    plastic = net.connect(sides[0], cells, evsim.explicit(pre, post), weight=weight, delay=delay, plasticity=rule)
    sim = evsim.Simulation(net, threads=1, backend="cpu")
    sim.record(spikes=[cells])
    weights = []
    for end in range(chunk, len(golden["pre_spikes"]) + 1, chunk):
        sim.run(chunk + (end == chunk))
        if end - 1 in golden["steps"]:
            synapses = sim.synapses(plastic)
            weights.append(np.empty((n_pre, n_post)))
            weights[-1][synapses.pre, synapses.post] = synapses.weight
    ids, times = sim.spikes(cells)
    spikes = np.zeros_like(golden["post_spikes"])
    spikes[np.rint(times).astype(int) - 1, ids] = True
    np.testing.assert_array_equal(spikes, golden["post_spikes"])
    return np.array(weights)


SPIKINGJELLY = {
    "identity": {"dependence": lambda w: w, "w_min": 0.0, "w_max": 2.0},
    "constant": {"w_min": -2.0, "w_max": 2.0},
    "soft": {"dependence": "multiplicative"},
    "multi_step": {"dependence": lambda w: w, "w_min": 0.0, "w_max": 2.0, "apply": "run"},
}


@pytest.mark.parametrize("case", SPIKINGJELLY)
def test_spikingjelly(case):
    golden = load("spikingjelly")
    chunk = int(golden["chunk"]) if case == "multi_step" else 1
    rate = {name: float(golden[name if case == "constant" else "rate"]) for name in ("a_plus", "a_minus")}
    taus = {name: float(golden[name]) for name in ("tau_pre", "tau_post")}
    rule = evsim.PairSTDP(**taus, **rate, decay="euler", order="together", **SPIKINGJELLY[case])
    ends = (golden["steps"] + 1) % chunk == 0
    np.testing.assert_allclose(learn(golden, rule, chunk=chunk), golden[f"w_{case}"][ends], rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", ["set", "add", "soft"])
def test_bindsnet(case):
    golden = load("bindsnet")
    rule = evsim.PairSTDP(
        tau_pre=float(golden["tau_pre"]),
        tau_post=float(golden["tau_post"]),
        a_plus=float(golden["nu_post"]),
        a_minus=float(golden["nu_pre"]),
        w_min=float(golden["w_min"]),
        w_max=float(golden["w_max"]),
        traces="all" if case == "add" else "nearest",
        dependence="multiplicative" if case == "soft" else "additive",
        order="together",
    )
    np.testing.assert_allclose(learn(golden, rule), golden[f"w_{case}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["no_delay", "delay", "delays"])
def test_brian2(case):
    golden = load("brian2")
    rule = evsim.PairSTDP(
        tau_pre=float(golden["tau_pre"]),
        tau_post=float(golden["tau_post"]),
        a_plus=float(golden["a_pre"]),
        a_minus=-float(golden["a_post"]),
        w_max=float(golden["w_max"]),
        order="pre_first",
    )
    delay_steps = {"no_delay": 0, "delay": golden["delay_steps"], "delays": golden["synapse_delay_steps"]}[case]
    np.testing.assert_allclose(learn(golden, rule, delay_steps), golden[f"w_{case}"], rtol=0, atol=5e-6)
