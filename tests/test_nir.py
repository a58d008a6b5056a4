"""NIR's neurons against closed forms, and the NIR paper's first case."""

import os
from pathlib import Path

import nir_graphs as graphs
import numpy as np
import pytest
from nir_graphs import nir
from scipy.linalg import expm

import evsim
from evsim.nir import next_above, next_below

DATA = Path(os.environ.get("EVSIM_DATA") or Path(__file__).parents[2] / "shared" / "data") / "nir"
DT = 1e-3
STEPS = 80
INTEGRATORS = ("I", "LI", "CubaLI")
SPIKING = ("IF", "LIF", "CubaLIF")
PAPER_INPUT = [
    60, 220, 270, 310, 320, 350, 370, 400, 410, 430, 440, 450, 460, 470, 480, 490, 500, 510, 520, 530, 670, 680, 690,
    700, 710, 720, 730, 740, 750, 760, 770, 780, 840, 850,
]  # fmt: skip


def propagator(node, method):
    """(v, i, 1) after a step from (v, i, 1) before it, for an input x held: a function of x. (n, 3, 3) matrices.

    Exact: the matrix exponential of the equations. Euler: i <- i + dt di, then v <- v + dt dv with that i.
    """
    n = node.r.size
    r = node.r.astype(float)
    v_leak = np.asarray(getattr(node, "v_leak", np.zeros(n)), float)
    tau = getattr(node, "tau_mem", getattr(node, "tau", None))
    by_tau = np.zeros(n) if tau is None else 1.0 / tau.astype(float)
    gain = r if tau is None else by_tau * r

    def step(x):
        a = np.zeros((n, 3, 3))
        a[:, 0, 0], a[:, 0, 2] = -by_tau, by_tau * v_leak
        if hasattr(node, "tau_syn"):
            a[:, 0, 1] = gain
            a[:, 1, 1], a[:, 1, 2] = -1.0 / node.tau_syn, node.w_in / node.tau_syn.astype(float) * x
        else:
            a[:, 0, 2] += gain * x
        if method == "exact":
            return np.array([expm(each * DT) for each in a])
        first, second = np.tile(np.eye(3), (n, 1, 1)), np.tile(np.eye(3), (n, 1, 1))
        first[:, 1] += DT * a[:, 1]
        second[:, 0] += DT * a[:, 0]
        return second @ first

    return step


def solve(node, x, method):
    """v after each step and spikes, (T, n), in float64; and how close v came to a threshold."""
    step = propagator(node, method)
    n = node.r.size
    y = np.stack([np.asarray(getattr(node, "v_leak", np.zeros(n)), float), np.zeros(n), np.ones(n)], axis=1)
    v, spikes, near = [], [], np.inf
    for each in x:
        y = np.einsum("nij,nj->ni", step(each), y)
        s = np.zeros(n, bool)
        if hasattr(node, "v_threshold"):
            s = y[:, 0] > node.v_threshold
            near = min(near, np.abs(y[:, 0] - node.v_threshold).min())
            y[s, 0] = node.v_reset[s]
        v.append(y[:, 0].copy())
        spikes.append(s)
    return np.array(v), np.array(spikes), near


@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("kind", [*INTEGRATORS, *SPIKING])
def test_every_neuron_follows_its_equation(kind, method):
    node = graphs.neurons(kind, 6)
    x = np.random.default_rng(3).normal(0.8, 1.0, (STEPS, 6)).astype(np.float32)
    v, spikes, near = solve(node, x, method)
    assert near > 1e-5  # a fair demand
    net = evsim.from_nir(graphs.chain((6,), node), dt=DT, method=method)
    record = net.record(0, "v")
    out = net(x[:, None])[:, 0]
    np.testing.assert_allclose(record.v[:, 0], v, rtol=0, atol=1e-5 * np.abs(v).max())
    if kind in SPIKING:
        assert spikes.any(axis=0).all()
        np.testing.assert_array_equal(out, spikes)
    else:
        np.testing.assert_array_equal(out, record.v[:, 0])


def test_the_exact_step_does_not_depend_on_dt():
    """A held input of 4 steps is one of a step four times as long."""
    node = graphs.neurons("CubaLI", 4)
    x = np.random.default_rng(1).normal(size=(10, 1, 4)).astype(np.float32)
    fine = evsim.from_nir(graphs.chain((4,), node), dt=DT / 4)(np.repeat(x, 4, axis=0))[3::4]
    np.testing.assert_allclose(fine, evsim.from_nir(graphs.chain((4,), node), dt=DT)(x), atol=1e-6)


@pytest.mark.parametrize("method", ["exact", "euler"])
def test_v_rests_at_v_leak(method):
    node = graphs.neurons("LI", 50)
    v = evsim.from_nir(graphs.chain((50,), node), dt=1e-5, method=method)(np.zeros((2000, 1, 50)))
    np.testing.assert_allclose(v[-1, 0], node.v_leak, rtol=2e-7)


def test_a_spike_wants_v_above_the_threshold():
    """v reaches exactly 1 at first, which is no spike."""
    neuron = evsim.nir.IF(r=1.0, v_threshold=1.0, dt=1.0)
    np.testing.assert_array_equal(evsim.Sequential(neuron)(np.full((4, 1, 1), 0.5))[:, 0, 0], [0, 0, 1, 0])
    neuron = evsim.nir.IF(r=1.0, v_threshold=float(np.nextafter(np.float32(1), np.float32(0))), dt=1.0)
    np.testing.assert_array_equal(evsim.Sequential(neuron)(np.full((4, 1, 1), 0.5))[:, 0, 0], [0, 1, 0, 1])


@pytest.mark.parametrize("threshold", [1.0, 0.1, -0.3, 0.0, np.float32(0.1), 1e-20])
def test_next_above_is_the_smallest_float32_above(threshold):
    above = np.float32(next_above(threshold))
    assert float(above) > float(threshold)
    assert float(np.nextafter(above, np.float32(-np.inf))) <= float(threshold)
    assert next_above(next_below(np.float32(threshold))) == np.float32(threshold)


def test_the_reset_by_subtraction():
    neuron = evsim.nir.IF(r=1.0, v_threshold=1.0, dt=1.0, subtract=1.0)
    net = evsim.Sequential(neuron)
    record = net.record(0, "v")
    net(np.full((3, 1, 1), 0.75))
    np.testing.assert_array_equal(record.v[:, 0, 0], [0.75, 0.5, 0.25])


def test_threshold_has_no_memory():
    net = evsim.Sequential(evsim.nir.Threshold(np.array([0.5, 1.0])))
    x = np.array([[0.5, 1.0], [0.75, 1.25], [0.5, 2.0]])
    np.testing.assert_array_equal(net(x[:, None])[:, 0], x > [0.5, 1.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: evsim.nir.LIF(tau=1e-4, r=1.0, v_leak=0.0, v_threshold=1.0, dt=1e-3, method="euler"),
         "LIF: tau is 0.0001; with method 'euler' it must be at least dt = 0.001; .*'exact'"),
        (lambda: evsim.nir.LI(tau=1.0, r=1.0, v_leak=0.0, dt=0.0), "LI: dt is 0.0; it must be above 0"),
        (lambda: evsim.nir.I(r=1.0, dt=1.0, method="rk4"), "I: method is 'rk4'; it must be one of exact, euler"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_neurons_can_be_trained():
    """They are neurons like all others: the loss falls."""
    neuron = evsim.nir.LIF(tau=10e-3, r=2.0, v_leak=0.0, v_threshold=0.5, dt=DT)
    net = evsim.Sequential(evsim.Linear(5, 2, bias=False), neuron, seed=1)
    x = (np.random.default_rng(0).random((30, 8, 5)) < 0.5).astype(np.uint8)
    loss, optimizer, labels, values = evsim.RateMSE(), evsim.Adam(lr=0.05), np.arange(8) % 2, []
    for _ in range(10):
        net.reset()
        output, backward = evsim.training.forward(net, x)
        value, gradient = loss(output, labels)
        net.load_parameters(optimizer.update(net.parameters(), backward(gradient)))
        values.append(value)
    assert values[-1] < 0.9 * values[0]


def paper_graph():
    one = graphs.full
    lif = nir.LIF(one(2.5e-3, 1), one(1, 1), one(0, 1), one(0.1, 1), one(0, 1))
    return graphs.chain((1,), nir.Affine(one(1, 1, 1), one(0, 1)), lif)


def paper_input():
    x = np.zeros((1000, 1, 1), np.float32)
    x[PAPER_INPUT] = 1.0
    return x


@pytest.mark.parametrize("method", ["exact", "euler"])
def test_the_paper_s_first_case(method):
    out = evsim.from_nir(paper_graph(), dt=1e-4, method=method)(paper_input())
    assert np.flatnonzero(out).tolist() == [460, 510, 710, 760]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no NIR files in {DATA}; EVSIM_DATA names another folder")
def test_the_paper_s_first_case_from_its_files():
    exact, norse = (np.loadtxt(DATA / f"lif_{name}.csv", delimiter=",") for name in ("exact", "norse"))
    x = exact[:, 0].astype(np.float32).reshape(-1, 1, 1)
    np.testing.assert_array_equal(x, paper_input())
    spikes = evsim.from_nir(DATA / "lif_norse.nir", dt=1e-4)(x)
    np.testing.assert_array_equal(spikes[:, 0, 0], exact[:, 2])
    net = evsim.from_nir(DATA / "lif_norse.nir", dt=1e-4, method="euler")
    record = net.record(1, "v")
    np.testing.assert_array_equal(net(x)[:, 0, 0], norse[:, 2])
    np.testing.assert_allclose(record.v[:, 0, 0], norse[:, 1], rtol=0, atol=1e-6)
