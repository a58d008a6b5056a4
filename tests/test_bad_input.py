"""Bad input is refused where it is given; the message names the object, the value and what is allowed."""

import errno

import numpy as np
import pytest
from scipy import sparse

import evsim
from evsim import build as build_module
from evsim.checks import DelayWarning
from evsim.cpu_maker import CpuMaker
from evsim.network import Network

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def net():
    """Populations exc (10), inh (5; receptors exc, inh) and multi (4; three receptors), a spike source (3)."""
    net = Network(dt=0.1, seed=1)
    net.add_population("exc", 10, evsim.LIF())
    net.add_population("inh", 5, evsim.LIF(tau_syn=(2.0, 5.0)))
    net.add_population("multi", 4, evsim.LIF(tau_syn={"ampa": 2.0, "nmda": 50.0, "gaba": 5.0}))
    net.add_spike_source("input", 3, [0, 1], [0.1, 0.2])
    return net


def refuses(call, *words, error=ValueError):
    """`call` raises exactly `error`, in whose message all `words` occur in this order."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value.args[0])
    at = 0
    for word in words:
        assert word in message[at:], f"{word!r} is missing in {message!r}"
        at = message.index(word, at) + len(word)


def connect(net, rule=None, weight=1.0, delay=1.0, source="exc", target="exc", **options):
    populations = net.populations
    rule = evsim.all_to_all() if rule is None else rule
    return net.connect(populations[source], populations[target], rule, weight, delay, **options)


# row 1: a full record of spikes stops the chunk before loss, and the run goes on


@pytest.mark.parametrize("threads", [1, 2])
def test_full_spike_buffer_loses_nothing(threads, monkeypatch):
    def run():
        net = Network(dt=0.1)
        busy = net.add_population("busy", 300, evsim.IAF(i_bias=evsim.uniform(1.0, 10.0)))
        net.connect(busy, busy, evsim.fixed_indegree(5), 0.01, 0.5)
        sim = evsim.Simulation(net, threads=threads)
        sim.record(spikes=busy)
        sim.run(200.0)
        return *sim.spikes(busy), sim.n_spikes

    ids, times, n = run()
    monkeypatch.setattr("evsim.recorder.MIN_SPIKES", 1)
    small_ids, small_times, _ = run()
    assert n == ids.size > 100_000
    np.testing.assert_array_equal(ids, small_ids)
    np.testing.assert_array_equal(times, small_times)


# row 3: more synapses than 2^31


def test_row_pointers_have_64_bits(net):
    connect(net)
    model = evsim.Simulation(net)._built.model
    assert model.row_start.dtype == model.projection_row.dtype == model.projection_weight.dtype == np.int64
    many = connect(net, evsim.fixed_total_number(2**40))
    assert many.expected_synapses() == 2**40


# rows 4 and 5: rows as long as they are, indices in range


def test_very_uneven_rows(net):
    pre = np.array([3] * 1000 + [7])
    projection = connect(net, evsim.explicit(pre, np.arange(1001) % 10))
    synapses = evsim.Simulation(net).synapses(projection)
    assert np.bincount(synapses.pre, minlength=10).tolist() == [0, 0, 0, 1000, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("pre", "post", "words"),
    [
        ([0, 10], [0, 0], ["pre[1] is 10", "[0, 10)"]),
        ([0, 1], [0, 99], ["post[1] is 99", "[0, 10)"]),
    ],
)
def test_index_out_of_range(net, pre, post, words):
    refuses(lambda: connect(net, evsim.explicit(pre, post)), "projection 'exc->exc'", *words)


def test_index_out_of_range_of_a_slice(net):
    exc = net.populations["exc"]
    rule = evsim.explicit([4], [3])
    refuses(
        lambda: net.connect(exc[:4], exc, rule, 1.0, 1.0),
        "projection 'exc[0:4]->exc'",
        "pre[0] is 4",
        "[0, 4)",
    )


def test_matrix_of_another_shape(net):
    words = ("projection 'exc->inh'", "(5, 10)", "must have shape (10, 5)")
    refuses(lambda: connect(net, sparse.eye_array(5, 10), None, target="inh"), *words)


@pytest.mark.parametrize(
    ("pre", "post", "error", "words"),
    [
        ([-1], [0], ValueError, ["pre[0] is -1"]),
        ([0.5], [0], TypeError, ["pre has dtype float64", "whole numbers"]),
        ([True], [0], TypeError, ["pre has dtype bool"]),
        ([[0]], [0], ValueError, ["pre has shape (1, 1)", "one dimension"]),
        ([0, 1], [0], ValueError, ["2 pre and 1 post"]),
        ([2**40], [0], ValueError, ["pre[0] is 1099511627776"]),
    ],
)
def test_bad_indices(pre, post, error, words):
    refuses(lambda: evsim.explicit(pre, post), "explicit", *words, error=error)


# rows 6 to 12: weights and delays


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("what", ["weight", "delay"])
def test_nan_or_infinite_weight_or_delay(net, what, bad):
    refuses(
        lambda: connect(net, **{what: bad}),
        "projection 'exc->exc'",
        f"{what} is {bad}",
        f"{what}s must be finite",
    )
    array = np.ones((10, 10))
    array[3, 7] = bad
    refuses(lambda: connect(net, **{what: array}), "projection 'exc->exc'", f"{what}[3, 7] is {bad}", "finite")
    rule = evsim.explicit([0, 1], [1, 2])
    refuses(
        lambda: connect(net, rule, **{what: [1.0, bad]}),
        "projection 'exc->exc'",
        f"{what}[1] is {bad}",
        "finite",
    )


def test_nan_in_a_sparse_matrix(net):
    matrix = sparse.coo_array(([1.0, NAN], ([0, 1], [2, 3])), shape=(10, 10))
    refuses(lambda: connect(net, matrix, None), "projection 'exc->exc'", "weight[1] is nan", "must be finite")


@pytest.mark.parametrize("bad", [-1.0, 0.0, 0.04, 0.09])
def test_delay_below_dt(net, bad):
    words = ("projection 'exc->exc'", f"{bad} ms", "at least dt = 0.1 ms, or 0 for the whole projection")
    if bad != 0.0:
        refuses(lambda: connect(net, delay=bad), *words)
    delay = np.full((10, 10), 1.0)
    delay[2, 0] = bad
    refuses(lambda: connect(net, delay=delay), "delay[2, 0] is", *words[1:])


def test_drawn_delay_that_can_be_below_dt(net):
    words = ("projection 'exc->exc'", "delay is -", "at least dt = 0.1 ms", "low=0.1")
    refuses(lambda: connect(net, delay=evsim.normal(1.5, 0.75)), *words)
    connect(net, delay=evsim.normal(1.5, 0.75, low=0.1))


def test_delay_off_the_grid_warns_once_and_shows_the_actual_one(net):
    with pytest.warns(
        DelayWarning, match=r"projection 'exc->exc': delay 0.25 ms .* dt = 0.1 ms and becomes 0.2 ms"
    ) as w:
        projection = connect(net, delay=0.25)
    assert len(w) == 1
    assert evsim.Simulation(net).synapses(projection).delay == pytest.approx(0.2)


@pytest.mark.parametrize("huge", [1e7, 1e9, 1e29, 1e300])
def test_huge_delay(net, huge):
    connect(net, delay=huge, name="slow")
    words = ("projection 'slow'", f"delay is up to {huge:g} ms", "at most", "ms", "steps")
    refuses(lambda: evsim.Simulation(net), *words)


def test_longest_delay_that_the_message_allows(net):
    connect(net, delay=1e9)
    with pytest.raises(ValueError, match="at most") as caught:
        evsim.Simulation(net)
    longest = int(str(caught.value).split("(")[1].split()[0])
    net.projections.clear()
    connect(net, delay=(longest + 1) * 0.1)
    refuses(lambda: evsim.Simulation(net), f"({longest} steps)")


@pytest.mark.parametrize("bad", ["0.1", None, 1j, [[1.0], [2.0, 3.0]], {}, object()])
@pytest.mark.parametrize("what", ["weight", "delay"])
def test_weight_or_delay_of_another_type(net, what, bad):
    refuses(lambda: connect(net, **{what: bad}), "projection 'exc->exc'", what, error=TypeError)


@pytest.mark.parametrize(
    ("rule", "shape", "allowed"),
    [
        (evsim.all_to_all(), (10,), "have shape (10, 10)"),
        (evsim.one_to_one(), (10, 10), "have shape (10,)"),
        (evsim.explicit([0, 1], [1, 0]), (3,), "have shape (2,)"),
        (evsim.fixed_indegree(2), (20,), "one number or a distribution"),
    ],
)
@pytest.mark.parametrize("what", ["weight", "delay"])
def test_array_of_another_shape(net, what, rule, shape, allowed):
    call = lambda: connect(net, rule, **{what: np.ones(shape)})  # noqa: E731
    refuses(call, "projection 'exc->exc'", f"{what} has shape {shape}", allowed)


@pytest.mark.parametrize("bad", [1e31, -1e300, np.full((10, 10), 1e31), evsim.normal(1e31, 1e30)])
def test_weight_beyond_float32(net, bad):
    refuses(lambda: connect(net, weight=bad), "projection 'exc->exc'", "weight", "at most 1e+30 in size")


@pytest.mark.parametrize("bad", [1e-31, -1e-300, evsim.uniform(1e-40, 1e-39)])
def test_weight_too_small_to_hold(net, bad):
    refuses(lambda: connect(net, weight=bad), "projection 'exc->exc'", "largest weight is", "at least 1e-30")
    connect(net, weight=np.array([1.0, 1e-200]), rule=evsim.explicit([0, 0], [0, 1]))


# rows 13 and 14: neuron parameters


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF])
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn"])
def test_bad_time_constant(net, name, bad):
    shown = {"tau_mem": "tau_mem", "tau_syn": "tau_syn.syn"}[name]
    allowed = "finite" if not np.isfinite(bad) else "above 0 ms"
    words = ("population 'new'", f"{shown} is {bad}", allowed)
    refuses(lambda: net.add_population("new", 3, evsim.LIF(**{name: bad})), *words)
    array = np.array([1.0, bad, 1.0])
    words = ("population 'new'", f"{shown}[1] is {bad}", allowed)
    refuses(lambda: net.add_population("new", 3, evsim.LIF(**{name: array})), *words)
    assert "new" not in net.populations


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tau_syn": (1.0, 0.0)}, ["tau_syn.inh is 0", "above 0 ms"]),
        ({"tau_syn": {"slow": -3.0}}, ["tau_syn.slow is -3", "above 0 ms"]),
        ({"tau_syn": {}}, ["tau_syn is an empty dict", "at least one receptor"]),
        (
            {"tau_mem": evsim.normal(10.0, 5.0)},
            ["tau_mem is drawn from normal(10, 5)", "reaches -", "above 0 ms"],
        ),
        ({"t_ref": -0.1}, ["t_ref is -0.1", "at least 0 ms"]),
        ({"t_ref": INF}, ["t_ref is inf", "finite"]),
        ({"tau_syn": (1.0, 2.0, 3.0)}, ["tau_syn has 3 entries", "(exc, inh)"]),
        ({"r_mem": 0.0}, ["r_mem is 0.0", "above 0"]),
        ({"i_bias": NAN}, ["i_bias is nan", "finite"]),
        ({"v_threshold": INF}, ["v_threshold is inf", "finite"]),
        ({"v_threshold": 1e38}, ["v_threshold is 1e+38", "at most 1e+30"]),
        ({"v_min": NAN}, ["v_min is nan", "a number"]),
        ({"v_reset": 1.0}, ["v_reset is 1.0", "v_threshold 1", "below v_threshold"]),
        ({"v_reset": 2.0}, ["v_reset is 2.0", "v_threshold 1", "below v_threshold"]),
        ({"v_reset": np.array([0.0, 0.0, 5.0])}, ["v_reset[2] is 5.0", "v_threshold 1", "below"]),
        ({"v_threshold": np.array([1.0, -1.0, 1.0])}, ["v_reset[1] is 0.0", "v_threshold -1", "below"]),
        ({"v_threshold": evsim.uniform(0.0, 1.0), "v_reset": 0.5}, ["v_reset is 0.5", "below v_threshold"]),
        ({"v_leak": [1.0, 2.0]}, ["v_leak has shape (2,)", "shape (3,)"]),
    ],
)
def test_bad_parameter(net, parameters, words):
    refuses(lambda: net.add_population("new", 3, evsim.LIF(**parameters)), "population 'new'", *words)
    assert "new" not in net.populations


@pytest.mark.parametrize("bad", ["20", 1j, [[1.0], [2.0, 3.0]]])
def test_parameter_of_another_type(net, bad):
    words = ("population 'new'", f"i_bias is {bad!r}", "numbers")
    refuses(lambda: net.add_population("new", 3, evsim.LIF(i_bias=bad)), *words, error=TypeError)


def test_unknown_parameter_names_the_nearest():
    words = ("LIF", "'tau_m'", "did you mean 'tau_mem'?", "v_threshold")
    refuses(lambda: evsim.LIF(tau_m=20.0), *words, error=TypeError)
    refuses(lambda: evsim.IAF(v_thresh=20.0), "IAF", "'v_thresh'", "'v_threshold'?", error=TypeError)


@pytest.mark.parametrize(
    ("v", "error", "words"),
    [
        (NAN, ValueError, ["v is nan", "finite"]),
        ([1.0, 2.0], ValueError, ["v has shape (2,)", "(3,)"]),
        ("rest", TypeError, ["v is 'rest'", "numbers"]),
    ],
)
def test_bad_initial_v(net, v, error, words):
    refuses(lambda: net.add_population("new", 3, evsim.LIF(), v=v), "population 'new'", *words, error=error)


# row 15: rules that cannot be


@pytest.mark.parametrize("bad", [1.5, -0.1, NAN, INF])
def test_probability_outside_0_to_1(bad):
    words = ("pairwise_bernoulli", f"probability is {bad}", "[0, 1]" if np.isfinite(bad) else "finite")
    refuses(lambda: evsim.pairwise_bernoulli(bad), *words)


@pytest.mark.parametrize("name", ["fixed_indegree", "fixed_outdegree", "fixed_total_number"])
@pytest.mark.parametrize("bad", [-1, 2.0, "3", None, True, 2**70])
def test_number_of_synapses_that_is_none(name, bad):
    refuses(lambda: getattr(evsim, name)(bad), name, f"is {bad!r}", "whole number in [0, ")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (evsim.fixed_indegree(11, allow_multapses=False), ["is 11", "10 sources", "[0, 10]"]),
        (evsim.fixed_indegree(10, False, False), ["is 10", "9 sources", "[0, 9]"]),
        (evsim.fixed_outdegree(11, allow_multapses=False), ["is 11", "10 targets", "[0, 10]"]),
        (evsim.fixed_outdegree(10, False, False), ["is 10", "9 targets", "[0, 9]"]),
        (evsim.fixed_total_number(101, allow_multapses=False), ["is 101", "100 pairs", "[0, 100]"]),
        (evsim.fixed_total_number(91, False, False), ["is 91", "90 pairs", "[0, 90]"]),
    ],
    ids=lambda x: f"{x.name}-{x.degree}" if hasattr(x, "degree") else "",
)
def test_more_synapses_than_there_are_partners(net, rule, words):
    refuses(lambda: connect(net, rule), "projection 'exc->exc'", rule.name, *words)


def test_one_neuron_without_autapses_has_no_partner(net):
    exc = net.populations["exc"]
    for rule in (
        evsim.fixed_indegree(1, False),
        evsim.fixed_outdegree(1, False),
        evsim.fixed_total_number(1, False),
    ):
        refuses(lambda rule=rule: net.connect(exc[2], exc[2], rule, 1.0, 1.0), "exc[2:3]", rule.name, "0")


def test_one_to_one_between_different_sizes(net):
    refuses(
        lambda: connect(net, evsim.one_to_one(), target="inh"),
        "projection 'exc->inh'",
        "10 sources to 5 targets",
    )


@pytest.mark.parametrize("bad", ["all_to_all", evsim.all_to_all, 0.1, None, np.ones((10, 10))])
def test_rule_of_another_type(net, bad):
    refuses(
        lambda: net.connect(*[net.populations["exc"]] * 2, bad, 1.0, 1.0),
        "rule is",
        "fixed_indegree(100)",
        error=TypeError,
    )


# row 16: spike times, rates and currents


@pytest.mark.parametrize(
    ("ids", "times", "words"),
    [
        ([0, 0], [0.2, 0.1], ["times[1] is 0.1 ms", "neuron 0", "ascend"]),
        ([0, 0], [0.2, 0.2], ["times[1] is 0.2 ms a second time", "neuron 0"]),
        ([0], [-0.1], ["times[0] is -0.1 ms", "[0, "]),
        ([0, 1], [0.1, NAN], ["times[1] is nan ms", "finite"]),
        ([0, 1], [0.1, INF], ["times[1] is inf ms", "finite"]),
        ([0], [0.15], ["times[0] is 0.15 ms", "multiples of dt = 0.1 ms"]),
        ([0], [1e300], ["times[0] is 1e+300 ms", "[0, "]),
        ([3], [0.1], ["ids[0] is 3", "[0, 3)"]),
        ([-1], [0.1], ["ids[0] is -1", "[0, 3)"]),
        ([0, 1], [0.1], ["ids has shape (2,) and times (1,)", "as many"]),
    ],
)
def test_bad_spike_train(net, ids, times, words):
    refuses(lambda: net.add_spike_source("new", 3, ids, times), "population 'new'", *words)
    assert "new" not in net.populations


@pytest.mark.parametrize(("ids", "times"), [([0.0], [0.1]), ([0], ["soon"]), ([0], [None])])
def test_spike_train_of_another_type(net, ids, times):
    refuses(lambda: net.add_spike_source("new", 3, ids, times), "population 'new'", error=TypeError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": -1.0}, ["rate is -1.0", "at least 0 Hz"]),
        ({"rate": NAN}, ["rate is nan", "finite"]),
        ({"rate": INF}, ["rate is inf", "finite"]),
        ({"rate": 1e11}, ["rate is 1e+11 Hz", "at most 1e6 spikes a step"]),
        ({"rate": [1.0, 2.0]}, ["rate has shape (2,)", "(10,)"]),
        ({"rate": np.r_[np.ones(9), -1.0]}, ["rate[9] is -1.0", "at least 0 Hz"]),
        ({"rate": [1.0, 2.0], "times": [0.0]}, ["rate has shape (2,)", "(1,)"]),
        ({"rate": np.ones((2, 9)), "times": [0.0, 1.0]}, ["rate has shape (2, 9)", "(2, 10)"]),
        ({"rate": 1.0, "times": [1.0, 1.0]}, ["times is [1.0, 1.0]", "ascending"]),
        ({"rate": 1.0, "times": [2.0, 1.0]}, ["times is [2.0, 1.0]", "ascending"]),
        ({"rate": 1.0, "times": []}, ["times is []", "ascending"]),
        ({"rate": 1.0, "times": 3.0}, ["times is 3.0", "list of ascending"]),
        ({"rate": 1.0, "times": [0.05]}, ["times[0] is 0.05 ms", "dt = 0.1 ms"]),
        ({"rate": 1.0, "times": [-1.0]}, ["times[0] is -1.0 ms"]),
        ({"rate": 1.0, "weight": NAN}, ["weight is nan", "finite"]),
        ({"rate": 1.0, "weight": 1e38}, ["weight is 1e+38", "at most 1e+30"]),
        ({"rate": 1.0, "weight": [1.0, 2.0]}, ["weight has shape (2,)", "one number"]),
    ],
)
def test_bad_poisson(net, options, words):
    exc = net.populations["exc"]
    refuses(lambda: net.add_poisson("noise", exc, **{"weight": 1.0, **options}), "poisson 'noise'", *words)
    assert net.poissons == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"amplitude": NAN}, ["amplitude is nan", "finite"]),
        ({"amplitude": -INF}, ["amplitude is -inf", "finite"]),
        ({"amplitude": [1.0, 2.0]}, ["amplitude has shape (2,)", "(10,)"]),
        ({"amplitude": np.ones((5, 9))}, ["amplitude has shape (5, 9)", "(5, 10)"]),
        ({"amplitude": 1.0, "times": [0.1, 0.05]}, ["times[1] is 0.05 ms"]),
        ({"amplitude": 1.0, "times": [0.2, 0.1]}, ["times is [0.2, 0.1]", "ascending"]),
    ],
)
def test_bad_current(net, options, words):
    refuses(lambda: net.add_current("step", net.populations["exc"], **options), "current 'step'", *words)
    assert net.currents == []


@pytest.mark.parametrize("bad", ["1", None, 1j, [[1.0], [1.0, 2.0]]])
def test_stimulus_of_another_type(net, bad):
    exc = net.populations["exc"]
    refuses(lambda: net.add_poisson("noise", exc, bad, 1.0), "poisson 'noise'", "rate is", error=TypeError)
    refuses(lambda: net.add_poisson("noise", exc, 1.0, bad), "poisson 'noise'", "weight is", error=TypeError)
    refuses(lambda: net.add_current("step", exc, bad), "current 'step'", "amplitude is", error=TypeError)


def test_nothing_is_added_where_one_of_several_targets_is_bad(net):
    exc, source = net.populations["exc"], net.populations["input"]
    refuses(
        lambda: net.add_poisson("noise", [exc, source], 1.0, 1.0),
        "poisson 'noise'",
        "'input' is a spike source",
    )
    refuses(lambda: net.connect(exc, [exc, source], evsim.all_to_all(), 1.0, 1.0), "'exc->input'", "spike source")
    refuses(lambda: net.add_current("step", [exc, exc[:0]], 1.0), "current 'step'", "empty")
    assert net.poissons == net.projections == net.currents == []


# row 17: too big for the memory


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (evsim.fixed_total_number(10**13), 1000),
        (evsim.fixed_indegree(10**8), 100_000),
        (evsim.fixed_outdegree(2**31 - 1), 10_000),
        (evsim.all_to_all(), 4_000_000),
        (evsim.pairwise_bernoulli(0.5), 4_000_000),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_too_many_synapses_are_refused_at_once(rule, size):
    net = Network()
    small = net.add_population("small", 100, evsim.LIF())
    big = net.add_population("big", size, evsim.LIF())
    net.connect(small, big, evsim.fixed_indegree(1), 1.0, 1.0)
    net.connect(big, big, rule, evsim.uniform(0.5, 1.5), 1.0, name="dense")
    words = ("projection 'dense' takes", "TB of the", "network needs, but", "available")
    refuses(lambda: evsim.Simulation(net), *words, error=MemoryError)


def test_too_many_neurons_are_refused_at_once():
    net = Network()
    net.add_population("small", 100, evsim.LIF())
    net.add_population("huge", 2**31 - 1, evsim.LIF(tau_syn=(1.0, 2.0)))
    words = ("population 'huge' takes", "available")
    refuses(lambda: evsim.Simulation(net), *words, error=MemoryError)


def test_memory_is_checked_before_anything_is_made(net, monkeypatch):
    connect(net, evsim.fixed_indegree(20_000), name="most")
    needed = evsim.Simulation(net).memory()
    made = []
    monkeypatch.setattr(build_module, "build_synapses", lambda *_: made.append(1))
    monkeypatch.setattr(CpuMaker, "available_memory", lambda _: needed.total + needed.building - 1.0)
    words = ("projection 'most' takes 800 kB of the", "kB are available")
    refuses(lambda: evsim.Simulation(net), *words, error=MemoryError)
    assert not made
    monkeypatch.undo()
    monkeypatch.setattr(CpuMaker, "available_memory", lambda _: float(needed.total + needed.building))
    evsim.Simulation(net)


# row 19: output that cannot be written


def test_output_is_checked_before_the_run(net, tmp_path):
    exc = net.populations["exc"]
    (tmp_path / "there.h5").write_text("precious")
    for path, error, number in (
        (tmp_path / "there.h5", FileExistsError, errno.EEXIST),
        (tmp_path / "missing" / "a.h5", FileNotFoundError, errno.ENOENT),
        (tmp_path, IsADirectoryError, errno.EISDIR),
        (tmp_path / "there.h5" / "a.h5", NotADirectoryError, errno.ENOTDIR),
    ):
        sim = evsim.Simulation(net)
        with pytest.raises(error) as caught:
            sim.record(path, spikes=exc)
        assert caught.value.errno == number
        assert str(path.parent if error is FileNotFoundError else path) in str(caught.value)
    assert (tmp_path / "there.h5").read_text() == "precious"
    sim.record(tmp_path / "there.h5", spikes=exc, overwrite=True)
    sim.run(0.1)


# what the table has no row for


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dt": 0.0}, ["dt is 0.0", "above 0 ms"]),
        ({"dt": -0.1}, ["dt is -0.1", "above 0 ms"]),
        ({"dt": NAN}, ["dt is nan", "finite"]),
        ({"dt": [0.1, 0.2]}, ["dt has shape (2,)", "one number"]),
        ({"seed": -1}, ["seed is -1", f"[0, {2**64 - 1}]"]),
        ({"seed": 2**64}, [f"seed is {2**64}", f"[0, {2**64 - 1}]"]),
        ({"seed": 1.5}, ["seed is 1.5", "whole number"]),
    ],
)
def test_bad_network(options, words):
    refuses(lambda: Network(**options), "network", *words)


@pytest.mark.parametrize("bad", ["", "a/b", ".a", 5, None])
def test_bad_population_name(net, bad):
    refuses(lambda: net.add_population(bad, 3, evsim.LIF()), f"population {bad!r}", "a name must")
    refuses(lambda: net.add_spike_source(bad, 3, [], []), f"population {bad!r}", "a name must")


def test_bad_names_of_others(net):
    exc = net.populations["exc"]
    refuses(lambda: net.add_poisson("", exc, 1.0, 1.0), "poisson ''", "a name must be a non-empty string")
    refuses(lambda: net.add_current(5, exc, 1.0), "current 5", "a name must be a non-empty string")
    refuses(lambda: connect(net, name=5), "projection 5", "a name must be a non-empty string")


def test_name_that_is_taken(net):
    refuses(lambda: net.add_population("exc", 3, evsim.LIF()), "population 'exc'", "already", "unique")
    refuses(lambda: net.add_spike_source("exc", 3, [], []), "population 'exc'", "already", "unique")
    assert net.populations["exc"].size == 10


@pytest.mark.parametrize("bad", [0, -5, 2.5, "10", None, True, 2**31])
def test_bad_size(net, bad):
    refuses(
        lambda: net.add_population("new", bad, evsim.LIF()),
        "population 'new'",
        f"n is {bad!r}",
        "[1, 2147483647]",
    )


@pytest.mark.parametrize("bad", [evsim.LIF, "LIF", None])
def test_model_of_another_type(net, bad):
    refuses(
        lambda: net.add_population("new", 3, bad),
        "population 'new'",
        "a neuron model such as evsim.LIF",
        error=TypeError,
    )


def test_bad_slices(net):
    exc = net.populations["exc"]
    refuses(lambda: exc[10], "population 'exc'", "index 10", "[0, 10)", error=IndexError)
    refuses(lambda: exc[-11], "population 'exc'", "index -11", "[0, 10)", error=IndexError)
    refuses(lambda: exc[2:5][3], "population 'exc'", "index 3", "[0, 3)", error=IndexError)
    refuses(lambda: exc[::2], "population 'exc'", "step is 2", "must be 1")
    for bad in ("a", 1.5, [1, 2], np.array([1, 2]), None):
        refuses(lambda bad=bad: exc[bad], "population 'exc'", "index is", error=TypeError)
    for empty in (exc[5:5], exc[7:3], exc[10:], exc[2:5][3:]):
        refuses(lambda empty=empty: net.connect(empty, exc, evsim.all_to_all(), 1.0, 1.0), "source exc[", "empty")
        refuses(lambda empty=empty: net.add_poisson("noise", empty, 1.0, 1.0), "poisson 'noise'", "exc[", "empty")


def test_slices_mean_what_python_means(net):
    exc = net.populations["exc"]
    taken = [(s.start, s.stop) for s in (exc[3], exc[-1], exc[2:], exc[:-3], exc[2:8][1:3], exc[-4:-2], exc[0:99])]
    assert taken == [(3, 4), (9, 10), (2, 10), (0, 7), (3, 5), (6, 8), (0, 10)]


def test_things_that_are_no_population(net):
    exc = net.populations["exc"]
    for bad in ("exc", None, 3, [exc, "inh"], {exc}):
        refuses(
            lambda bad=bad: net.connect(bad, exc, evsim.all_to_all(), 1.0, 1.0),
            "connect",
            "source",
            error=TypeError,
        )
        refuses(
            lambda bad=bad: net.connect(exc, bad, evsim.all_to_all(), 1.0, 1.0),
            "connect",
            "target",
            error=TypeError,
        )
        refuses(lambda bad=bad: net.add_current("step", bad, 1.0), "current 'step'", "target", error=TypeError)
    refuses(lambda: net.connect([], exc, evsim.all_to_all(), 1.0, 1.0), "connect", "source", "empty list")
    refuses(lambda: net.add_poisson("noise", [], 1.0, 1.0), "poisson 'noise'", "target", "empty list")


def test_populations_of_another_network(net):
    other = Network().add_population("exc", 10, evsim.LIF())
    exc = net.populations["exc"]
    for foreign in (other, other[:3]):
        words = (repr(foreign), "does not belong to this network")
        refuses(lambda f=foreign: net.connect(f, exc, evsim.all_to_all(), 1.0, 1.0), "connect: source", *words)
        refuses(lambda f=foreign: net.connect(exc, f, evsim.all_to_all(), 1.0, 1.0), "connect: target", *words)
        refuses(lambda f=foreign: net.add_poisson("noise", f, 1.0, 1.0), "poisson 'noise'", *words)
        sim = evsim.Simulation(net)
        refuses(lambda f=foreign, s=sim: s.record(spikes=f), "record", *words)
        refuses(lambda f=foreign, s=sim: s.record(state={f: "v"}), "record", *words)
        refuses(lambda f=foreign, s=sim: s.values(f), "values", *words)


def test_receptors(net):
    words = ("projection 'exc->inh'", "receptor of 'inh'", "'ampa'", "known are exc, inh")
    refuses(lambda: connect(net, target="inh", receptor="ampa"), *words, error=KeyError)
    words = ("poisson 'noise'", "receptor of 'exc'", "'syn'", "known are delta")
    refuses(
        lambda: net.add_poisson("noise", net.populations["exc"], 1.0, 1.0, receptor="syn"),
        *words,
        error=KeyError,
    )
    words = ("projection 'exc->multi'", "'multi' has receptors ampa, nmda, gaba", "receptor=")
    refuses(lambda: connect(net, target="multi"), *words)
    refuses(lambda: connect(net, target="multi", receptor=5), "unknown receptor", "5", "ampa", error=KeyError)


@pytest.mark.parametrize("weight", [np.linspace(-1.0, 2.0, 50).reshape(10, 5), evsim.normal(0.1, 1.0)])
def test_weights_of_both_signs_into_two_receptors(net, weight):
    words = ("projection 'exc->inh'", "weights run from -", "receptor cannot be told", "exc, inh")
    refuses(lambda: connect(net, weight=weight, target="inh"), *words)
    assert connect(net, weight=weight, target="inh", receptor="inh").receptor == 1
    assert connect(net, weight=-abs(np.ones((10, 5))), target="inh").receptor == 1
    assert connect(net, weight=0.0, target="inh").receptor == 0


def test_weight_or_delay_left_out(net):
    populations = [net.populations["exc"]] * 2
    words = ("projection 'exc->exc'", "no weight is given")
    refuses(lambda: net.connect(*populations, evsim.all_to_all()), *words, error=TypeError)
    words = ("projection 'exc->exc'", "no delay is given")
    refuses(lambda: net.connect(*populations, evsim.all_to_all(), 1.0), *words, error=TypeError)


def test_spike_sources_receive_nothing(net):
    words = ("'input' is a spike source and receives no input",)
    refuses(lambda: connect(net, target="input"), "projection 'exc->input'", *words)
    source = net.populations["input"]
    refuses(lambda: net.add_poisson("noise", source, 1.0, 1.0), "poisson 'noise'", *words)
    refuses(lambda: net.add_current("step", source, 1.0), "current 'step'", "'input' is a spike source")
    sim = evsim.Simulation(net)
    refuses(lambda: sim.record(state={source: "v"}), "record", "'input' is a spike source and has no state")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: evsim.normal(NAN, 1.0), ["normal", "mean is nan", "finite"]),
        (lambda: evsim.normal(0.0, 0.0), ["normal", "std is 0", "above 0"]),
        (lambda: evsim.normal(0.0, -1.0), ["normal", "std is -1", "above 0"]),
        (lambda: evsim.normal(0.0, INF), ["normal", "std is inf", "finite"]),
        (lambda: evsim.normal(0.0, 1.0, low=2.0, high=1.0), ["normal", "low=2.0, high=1.0", "below"]),
        (lambda: evsim.normal(0.0, 1.0, low=NAN), ["normal", "low=nan", "below"]),
        (lambda: evsim.normal(0.0, 1.0, low=8.0), ["normal(0, 1, low=8", "at least 0.001"]),
        (lambda: evsim.lognormal(0.0, NAN), ["lognormal", "std_log is nan", "finite"]),
        (lambda: evsim.lognormal(0.0, 1.0, high=0.0), ["lognormal", "low=0.0, high=0.0", "below"]),
        (lambda: evsim.uniform(1.0, 1.0), ["uniform", "low=1.0, high=1.0", "low below high"]),
        (lambda: evsim.uniform(0.0, INF), ["uniform", "high=inf", "finite"]),
    ],
)
def test_bad_distribution(call, words):
    refuses(call, *words)


@pytest.mark.parametrize("bad", ["1", None, 1j, [1.0]])
def test_distribution_of_another_type(bad):
    refuses(lambda: evsim.normal(bad, 1.0), "normal: mean is", "a number", error=TypeError)
    refuses(lambda: evsim.lognormal(0.0, bad), "lognormal: std_log is", "a number", error=TypeError)
    refuses(lambda: evsim.uniform(0.0, bad), "uniform: high is", "a number", error=TypeError)


# the simulation


def test_network_without_neurons():
    refuses(lambda: evsim.Simulation(Network()), "network", "no population", "add_population")


@pytest.mark.parametrize("bad", ["gpu", None, 3])
def test_unknown_backend(net, bad):
    refuses(lambda: evsim.Simulation(net, backend=bad), f"backend is {bad!r}", "'auto', 'cpu'")


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", 2000])
def test_bad_number_of_threads(net, bad):
    refuses(lambda: evsim.Simulation(net, threads=bad), "simulation", f"threads is {bad!r}", "[1, 1024]")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (-0.1, ["duration is -0.1 ms", "[0, "]),
        (0.05, ["duration is 0.05 ms", "multiples of dt = 0.1 ms"]),
        (NAN, ["duration is nan ms", "finite"]),
        (INF, ["duration is inf ms", "finite"]),
        (1e300, ["duration is 1e+300 ms", "[0, "]),
    ],
)
def test_bad_duration(net, bad, words):
    sim = evsim.Simulation(net)
    refuses(lambda: sim.run(bad), "run", *words)
    assert sim.time == 0.0
    sim.run(0.1)
    assert sim.time == 0.1


@pytest.mark.parametrize("bad", ["1", None, 1j])
def test_duration_of_another_type(net, bad):
    refuses(lambda: evsim.Simulation(net).run(bad), "run: duration is", error=TypeError)


def test_duration_that_is_a_list(net):
    refuses(lambda: evsim.Simulation(net).run([1.0, 2.0]), "run: duration has shape (2,)", "one number")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0.05}, ["every is 0.05", "multiples of dt = 0.1 ms"]),
        ({"every": 0.0}, ["every is 0.0", "above 0 ms"]),
        ({"every": -1.0}, ["every is -1.0", "above 0 ms"]),
        ({"every": NAN}, ["every is nan", "finite"]),
        ({"every": [1.0, 2.0]}, ["every has shape (2,)", "one number"]),
    ],
)
def test_bad_interval_of_recording(net, options, words):
    exc = net.populations["exc"]
    refuses(lambda: evsim.Simulation(net).record(state={exc: "v"}, **options), "record", *words)


def test_variables_that_are_not_there(net):
    sim, exc, inh = evsim.Simulation(net), net.populations["exc"], net.populations["inh"]
    words = ("variable of 'exc'", "'i_exc'", "known are v, v_pre_reset")
    refuses(lambda: sim.record(state={exc: "i_exc"}), "record", *words, error=KeyError)
    refuses(lambda: sim.values(exc, "i_exc"), *words, error=KeyError)
    words = ("record", "variable of 'inh'", "'u'", "known are v, v_pre_reset, i_exc, i_inh")
    refuses(lambda: sim.record(state={inh: ["v", "u"]}), *words, error=KeyError)


def test_recording_nothing(net):
    exc = net.populations["exc"]
    refuses(lambda: evsim.Simulation(net).record(), "record", "nothing is chosen", "spikes=, state= or weights=")
    refuses(lambda: evsim.Simulation(net).record(spikes=exc[3:3]), "record", "exc[3:3]", "empty")
    refuses(lambda: evsim.Simulation(net).record(state={exc[3:3]: "v"}), "record", "exc[3:3]", "empty")
    refuses(lambda: evsim.Simulation(net).record(spikes="exc"), "record", "'exc'", "population", error=TypeError)
    refuses(lambda: evsim.Simulation(net).record(state=[exc]), "record", "state", error=TypeError)
    refuses(lambda: evsim.Simulation(net).record(state={exc: 5}), "record", "5", "known are v", error=KeyError)


def test_recording_twice_or_too_late(net):
    exc = net.populations["exc"]
    words = ("record", "once", "before the first run")
    sim = evsim.Simulation(net)
    sim.record(spikes=exc)
    refuses(lambda: sim.record(spikes=exc), *words, error=RuntimeError)
    sim = evsim.Simulation(net)
    sim.run(0.1)
    refuses(lambda: sim.record(spikes=exc), *words, error=RuntimeError)


def test_asking_for_what_was_not_recorded(net):
    exc, inh = net.populations["exc"], net.populations["inh"]
    sim = evsim.Simulation(net)
    sim.record(spikes=exc, state={exc: "v"})
    sim.run(0.1)
    refuses(lambda: sim.spikes(inh), "'inh'", "not recorded", "record(spikes=...)")
    refuses(lambda: sim.state(exc, "v_pre_reset"), "'v_pre_reset' of 'exc'", "not recorded", "record(state=...)")
    refuses(lambda: sim.state(inh), "'v' of 'inh'", "not recorded")
    other = Network().add_population("exc", 10, evsim.LIF())
    refuses(lambda: sim.spikes(other), "'exc'", "does not belong to this network")


def test_projection_of_another_network(net):
    other = Network()
    population = other.add_population("exc", 10, evsim.LIF())
    foreign = other.connect(population, population, evsim.all_to_all(), 1.0, 1.0)
    refuses(
        lambda: evsim.Simulation(net).synapses(foreign),
        "projection 'exc->exc'",
        "does not belong to this network",
    )


def test_network_that_grew_after_it_was_built(net):
    sim = evsim.Simulation(net)
    late = connect(net, name="late")
    refuses(lambda: sim.synapses(late), "projection 'late'", "after")
    new = net.add_population("new", 3, evsim.LIF())
    refuses(lambda: sim.record(spikes=new), "'new'", "after")
    refuses(lambda: sim.values(new), "'new'", "after")
