"""Both backends build the same small networks; run by test_cuda_construction.py under the CUDA simulator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import evsim
from evsim.build import build
from evsim.cpu_maker import CpuMaker
from evsim.cuda_kernels import maker
from evsim.cuda_kernels.maker import CudaMaker
from evsim.cuda_kernels.target import SIMULATED
from evsim.layout import lay_out
from evsim.synapses import build_synapses

pytestmark = pytest.mark.skipif(not SIMULATED, reason="needs NUMBA_ENABLE_CUDASIM=1")

N = 13  # neurons of a slice
PRE, POST = np.random.default_rng(1).integers(0, N, (70, 2)).T
RULES = {
    "all_to_all": lambda autapses, *_: evsim.all_to_all(autapses),
    "one_to_one": lambda *_: evsim.one_to_one(),
    "fixed_indegree": lambda *allowed: evsim.fixed_indegree(4, *allowed),
    "fixed_outdegree": lambda *allowed: evsim.fixed_outdegree(5, *allowed),
    "fixed_total_number": lambda *allowed: evsim.fixed_total_number(60, *allowed),
    "pairwise_bernoulli": lambda autapses, *_: evsim.pairwise_bernoulli(0.3, autapses),
    "explicit": lambda *_: evsim.explicit(PRE, POST),
}
WEIGHTS = {
    "uniform": -0.7,
    "normal": evsim.normal(0.4, 0.3),
    "lognormal": evsim.lognormal(0.0, 1.0, high=5.0),
    "listed": np.random.default_rng(2).choice([-0.5, -0.25, 0.0, 0.3, 1.5], 2000)[::2],  # strided
}
DELAYS = {
    "uniform": 1.5,
    "drawn": evsim.uniform(0.1, 1.2),
    "listed": np.random.default_rng(3).choice([0.5, 0.7, 3.0], 1000),
}


def build_both(net):
    """The networks that both make, as NumPy arrays, all fields of Model compared."""
    cpu, cuda = build(net, 1, lambda done: None), build(net, 1, lambda done: None, CudaMaker)
    for name in ("synapse", "synapse_weight"):
        assert hasattr(getattr(cuda.model, name), "copy_to_host")
    cuda_model = cuda.model._replace(
        synapse=cuda.model.synapse.copy_to_host(), synapse_weight=cuda.model.synapse_weight.copy_to_host()
    )
    for name, ours in cpu.model._asdict().items():
        theirs = getattr(cuda_model, name)
        assert isinstance(theirs, np.ndarray)
        assert theirs.dtype == ours.dtype, name
        np.testing.assert_array_equal(theirs, ours, err_msg=name)
    assert cpu.state.ring.dtype == cuda.state.ring.dtype
    np.testing.assert_array_equal(cuda.n_synapses, cpu.n_synapses)
    return cpu


def one_projection(rule, weight, delay, same=True, seed=5):
    """13 neurons of 20 to themselves, or to a slice three neurons further on; the second of two receptors."""
    net = evsim.Network(dt=0.1, seed=seed)
    cells = net.add_population("cells", 20, evsim.LIF(tau_syn=(1.0, 2.0)))
    target = cells[4 : 4 + N] if same else cells[7 : 7 + N]
    net.connect(cells[4 : 4 + N], target, rule, weight=weight, delay=delay, receptor="inh")
    return net


def combinations():
    """Every rule with every kind of weight and delay it takes."""
    for name, make in RULES.items():
        rule = make(True, True)
        shape = rule.value_shape(N, N)
        for weight in WEIGHTS:
            for delay in DELAYS:
                if shape is not None or "listed" not in (weight, delay):
                    values = [
                        v[: np.prod(shape)].reshape(shape) if isinstance(v, np.ndarray) else v
                        for v in (WEIGHTS[weight], DELAYS[delay])
                    ]
                    yield pytest.param(rule, *values, id=f"{name} {weight} {delay}")


@pytest.mark.parametrize(("rule", "weight", "delay"), list(combinations()))
def test_every_rule_with_every_kind_of_weight_and_delay(rule, weight, delay):
    built = build_both(one_projection(rule, weight, delay))
    assert built.n_synapses[0] > 10


@pytest.mark.parametrize("same", [True, False], ids=["same", "overlapping"])
@pytest.mark.parametrize("multapses", [True, False], ids=["multapses", "no multapses"])
@pytest.mark.parametrize(
    "rule", ["all_to_all", "fixed_indegree", "fixed_outdegree", "fixed_total_number", "pairwise_bernoulli"]
)
def test_every_rule_without_autapses(rule, multapses, same):
    if rule == "fixed_total_number" and not multapses:
        same = True  # between overlapping slices it is refused
    build_both(one_projection(RULES[rule](False, multapses), WEIGHTS["normal"], DELAYS["drawn"], same))


def several_projections():
    """Spike source, three populations, one and two receptors, weights of all kinds, empty ones, no weights at all."""
    net = evsim.Network(dt=0.1, seed=2**40 + 3)
    source = net.add_spike_source("source", 5, [0, 1, 4], [0.1, 0.2, 0.4])
    a = net.add_population("a", 30, evsim.LIF(tau_syn=(0.5, 2.0)))
    b = net.add_population("b", 150, evsim.LIF())
    net.connect(b, a, evsim.fixed_indegree(3), weight=evsim.normal(-3.0, 1.0, high=0.0), delay=0.4)
    net.connect(source, [a, b], evsim.all_to_all(), weight=1.0, delay=evsim.normal(1.0, 0.5, low=0.1))
    net.connect(a, b, evsim.fixed_total_number(0), weight=1e30, delay=1.0)
    net.connect(a, b, evsim.explicit([], []), weight=np.zeros(0), delay=np.zeros(0))
    net.connect(a, b, evsim.pairwise_bernoulli(0.0), weight=evsim.uniform(0.0, 1.0), delay=1.0)
    net.connect(a[3:9], a, sparse.random(6, 30, 0.5, random_state=1), delay=0.2)
    net.connect(a, a, evsim.fixed_outdegree(0), weight=0.0, delay=0.2)
    net.add_poisson("noise", a, rate=900.0, weight=2.0)
    return net


def test_several_projections_at_once():
    build_both(several_projections())


def test_rows_that_sources_share():
    """Lists with weights, in one piece and several runs: of listed, drawn and equal weights."""
    net = evsim.Network(dt=1.0, seed=3)
    cells = net.add_population("cells", 60, evsim.LIF())
    rng = np.random.default_rng(4)
    layers = evsim.Conv2d(2, 3, 3, padding=1, weight=rng.normal(size=(3, 2, 3, 3))), evsim.spikingjelly.IFNode()
    (made,) = evsim.Sequential(*layers).add_to(net, "net", cells, (2, 5, 6))
    net.connect(made, cells, evsim.all_to_all(), evsim.lognormal(0.0, 1.0, high=5.0), delay=2.0)
    net.connect(cells, made[3:40], evsim.all_to_all(), rng.normal(size=(37, 60)).T, delay=1.0)
    net.connect(cells[:9], made, evsim.all_to_all(), 0.25, delay=1.0)
    net.connect(cells, cells, evsim.fixed_indegree(4), evsim.uniform(0.0, 1.0), delay=2.0)
    assert [q.shares_rows for q in net.projections] == [True, True, True, True, True, False]
    build_both(net)


def test_no_projection():
    net = evsim.Network()
    net.add_population("cells", 3, evsim.LIF())
    build_both(net)


def test_weights_of_zero():
    build_both(one_projection(RULES["explicit"](), np.zeros(PRE.size), 1.0))


def test_sums_of_64_bits():
    net = one_projection(RULES["explicit"](), np.where(np.arange(PRE.size) == 3, 0.4, 1e-6), 1.0)
    cells = net.populations["cells"]
    net.connect(cells, cells, evsim.all_to_all(), weight=evsim.uniform(1e-7, 2e-7), delay=1.0, receptor="inh")
    assert build_both(net).state.ring.dtype == np.int64


@pytest.mark.parametrize("n", [maker.SORT_CAPACITY, maker.SORT_CAPACITY + 1, 300])
@pytest.mark.parametrize("weighted", [True, False], ids=["a weight each", "one weight"])
def test_long_rows_of_equal_synapses(n, weighted):
    """Sorted in shared memory and where they lie; one row among empty ones, its lists in several pieces."""
    rng = np.random.default_rng(n)
    pre, post = np.full(n, 2), rng.integers(0, 3, n)
    weight = rng.choice([-1.0, 1.0], n) * rng.integers(0, 20, n) if weighted else 0.5
    built = build_both(one_projection(evsim.explicit(pre, post), weight, rng.choice([0.3, 0.4], n)))
    if weighted:
        synapse, bits = built.model.synapse, built.model.synapse_weight
        assert (np.diff(synapse.astype(np.int64)) == 0).sum() > n // 4
        assert np.unique(bits).size > 5


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_lists(data):
    n = data.draw(st.integers(0, 70))
    index = st.lists(st.integers(0, N - 1), min_size=n, max_size=n)
    pre, post = np.array(data.draw(index), np.int64), np.array(data.draw(index), np.int64)
    weights = st.lists(st.floats(-1e3, 1e3, width=32), min_size=n, max_size=n)
    delays = st.lists(st.sampled_from([0.1, 0.2, 0.8]), min_size=n, max_size=n)
    seed = data.draw(st.integers(0, 2**63 - 1))
    net = one_projection(
        evsim.explicit(pre, post), np.array(data.draw(weights)), np.array(data.draw(delays)), seed=seed
    )
    build_both(net)


def test_synapses_come_back_from_the_device():
    net = several_projections()
    cpu, cuda = (evsim.Simulation(net, backend=backend, threads=1) for backend in ("cpu", "cuda"))
    for projection in net.projections:
        for ours, theirs in zip(cpu.synapses(projection), cuda.synapses(projection), strict=True):
            np.testing.assert_array_equal(theirs, ours)
        assert (cpu.weights(projection) != cuda.weights(projection)).nnz == 0
    for sim in (cpu, cuda):
        sim.run(2.0)
    assert cpu.spike_checksum == cuda.spike_checksum
    assert cpu.n_events == cuda.n_events > 0


def plastic_projections():
    """Plastic weights: one for all, drawn, listed; they stay float32 and count with their bounds."""
    net = evsim.Network(dt=0.1, seed=6)
    cells = net.add_population("cells", 20, evsim.LIF())
    rule = evsim.PairSTDP(w_min=-0.5, w_max=5.0)
    for weight in (0.3, evsim.uniform(-0.5, 1.0), WEIGHTS["listed"][: PRE.size]):
        net.connect(cells[:N], cells[:N], evsim.explicit(PRE, POST), weight=weight, delay=1.0, plasticity=rule)
    return net


def test_plastic_weights():
    net = plastic_projections()
    layout, key = lay_out(net, 1), np.array([1, 2])
    (cpu, *_), (cuda, *_) = (
        build_synapses(net, layout, key, maker_type(net, layout), lambda done: None)
        for maker_type in (CpuMaker, CudaMaker)
    )
    for name, ours in cpu.items():
        theirs = cuda[name].copy_to_host() if name in ("synapse", "synapse_weight") else cuda[name]
        np.testing.assert_array_equal(theirs, ours, err_msg=name)
    assert (cpu["synapse_weight"].view(np.float32)[: PRE.size] == np.float32(0.3)).all()


def test_a_network_too_big_for_the_device_is_refused(monkeypatch):
    net = several_projections()
    needed = evsim.Simulation(net, backend="cuda").memory()
    assert needed.building > 0
    monkeypatch.setattr(CudaMaker, "available_memory", lambda _: needed.total + needed.building - 1.0)
    monkeypatch.setattr(CudaMaker, "count", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(MemoryError, match="population 'b' takes"):
        evsim.Simulation(net, backend="cuda")
