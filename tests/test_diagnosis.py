"""What Simulation.diagnose says of silent, saturated and unlearning networks, and that its advice holds."""

import numpy as np
import pytest

import evsim


def stdp_network(weight, w_max=1.0):
    """The question of a user of STDP: constant small weights, all outputs 0, and nothing learns."""
    net = evsim.Network(dt=1.0, seed=3)
    pixels = net.add_poisson_source("pixels", 100, rate=60.0)
    output = net.add_population("output", 10, evsim.LIF(tau_mem=20.0, v_threshold=1.0, t_ref=2.0))
    rule = evsim.PairSTDP(a_plus=0.005, a_minus=0.004, w_max=w_max)
    plastic = net.connect(
        pixels, output, evsim.pairwise_bernoulli(0.5), weight=weight, delay=1.0, plasticity=rule
    )  # fmt: skip
    return net, plastic


def test_the_advice_makes_a_silent_network_fire_and_learn():
    net, plastic = stdp_network(0.005)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(500.0)
    before = sim.synapses(plastic).weight
    found = sim.diagnose()
    assert list(found.silent) == ["output"]
    silence = found.silent["output"]
    assert 0.1 < silence.reached < 1.0
    assert silence.inputs == ["pixels->output"]
    assert silence.factor == pytest.approx(1.0 / silence.reached, rel=0.01)
    assert silence.factor < silence.factor_half
    assert "output" in found.unchanged[plastic]
    assert f"projection 'pixels->output' by at least {silence.factor:g}" in str(found)
    assert "projection 'pixels->output' cannot have learned: its targets, output, never fired" in str(found)
    assert sim.time == 500.0
    np.testing.assert_array_equal(sim.synapses(plastic).weight, before)

    for factor, fires in ((silence.factor * 0.995, False), (silence.factor, True), (silence.factor_half, True)):
        net, plastic = stdp_network(0.005 * factor)
        sim = evsim.Simulation(net, backend="cpu")
        before = sim.synapses(plastic).weight
        sim.run(500.0)
        assert (sim.spike_counts()["output"] > 0) is fires
        if fires:
            assert not sim.diagnose().silent
            assert plastic not in sim.diagnose().unchanged
            assert (sim.synapses(plastic).weight != before).any()
    assert np.count_nonzero(sim.neuron_spikes(net.populations["output"])) >= 5


def test_bounds_of_weights_that_the_advice_breaks_are_named():
    net, _ = stdp_network(0.005, w_max=0.006)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(200.0)
    found = sim.diagnose().silent["output"]
    assert f"raise w_max of 'pixels->output' to {0.005 * found.factor:.4g}" in found.advice


@pytest.mark.parametrize("tau_syn", [None, 5.0, (2.0, 8.0)])
def test_the_factor_is_exact_whatever_drives_the_neurons(tau_syn):
    """With bias, current, initial v, inhibition and neurons that differ: a per cent less, and none fires."""

    def run(factor):
        net = evsim.Network(dt=0.5, seed=8)
        lif = evsim.LIF(
            tau_mem=evsim.uniform(10.0, 20.0), tau_syn=tau_syn, v_leak=-65.0, v_reset=-65.0,
            v_threshold=evsim.uniform(-52.0, -50.0), i_bias=2.0,
        )  # fmt: skip
        cells = net.add_population("cells", 300, lif, v=evsim.uniform(-70.0, -60.0))
        net.add_current("step", cells[:100], amplitude=[0.0, 3.0, 0.0], times=[0.0, 50.0, 100.0])
        net.add_poisson("up", cells, rate=300.0, weight=0.4 * factor)
        net.add_poisson("down", cells, rate=100.0, weight=-0.2 * factor)
        sim = evsim.Simulation(net, backend="cpu", threads=2)
        sim.run(200.0)
        return sim

    found = run(1.0).diagnose().silent["cells"]
    assert found.inputs == ["up"]
    assert run(found.factor * 0.985).spike_counts()["cells"] == 0
    assert run(found.factor).spike_counts()["cells"] > 0
    half = run(found.factor_half)
    assert np.count_nonzero(half.neuron_spikes(half.network.populations["cells"])) >= 150


def test_a_chain_points_to_where_it_breaks():
    net = evsim.Network(dt=1.0)
    source = net.add_spike_source("source", 1, [0], [5.0])
    late = net.add_spike_source("late", 1, [0], [500.0])
    a, b, c = (net.add_population(name, 2, evsim.LIF(v_threshold=1.0)) for name in "abc")
    net.connect(source, a, evsim.all_to_all(), weight=0.25, delay=1.0)
    net.connect(a, b, evsim.all_to_all(), weight=5.0, delay=1.0)
    net.connect(late, b, evsim.all_to_all(), weight=-5.0, delay=1.0)
    sim = evsim.Simulation(net, backend="cpu")
    with pytest.raises(RuntimeError, match=r"diagnose: nothing has been simulated yet"):
        sim.diagnose()
    sim.run(100.0)
    found = sim.diagnose()
    assert set(found.silent) == {"late", "a", "b", "c"}
    assert found.silent["a"].reached == pytest.approx(0.25, rel=1e-4)
    assert found.silent["a"].factor == pytest.approx(4.0, rel=0.01)
    assert "what excites it comes from a, which never fired" in found.silent["b"].advice
    assert found.silent["b"].factor == np.inf
    assert "nothing that excites is connected" in found.silent["c"].advice
    assert "none of its spikes lies in the time simulated" in found.silent["late"].advice
    assert "came 0.0% of the way from rest to threshold in the first 3 ms" in str(sim.diagnose(repeat=3.0))
    net.connect(a, c, evsim.all_to_all(), weight=1.0, delay=1.0)
    with pytest.raises(ValueError, match="the network was added to"):
        sim.diagnose()


def test_rates_and_weights_are_taken_as_they_are_now():
    net, plastic = stdp_network(0.005)
    net.add_poisson("noise", net.populations["output"], rate=1000.0, weight=0.001)
    sim = evsim.Simulation(net, backend="cpu")
    for name in ("pixels", "noise"):
        sim.set_rate(name, 0.0)
    sim.run(100.0)
    found = sim.diagnose().silent
    assert set(found) == {"pixels", "output"}
    assert "poisson 'pixels' brought no spikes" in found["pixels"].advice
    sim.set_rate("noise", 1000.0)
    quiet = sim.diagnose().silent["output"]
    assert 0.0 < quiet.reached < 0.1
    sim.set_rate("pixels", 60.0)
    assert sim.diagnose().silent["output"].reached > quiet.reached
    sim.normalize(plastic, 20.0)
    assert "as they are now it fires within the first 100 ms" in sim.diagnose().silent["output"].advice


def test_saturated_populations_and_stuck_weights():
    net = evsim.Network(dt=0.5, seed=1)
    pace = net.add_population("pace", 20, evsim.LIF(v_threshold=1.0, t_ref=2.0))
    calm = net.add_population("calm", 20, evsim.LIF(v_threshold=1.0, t_ref=2.0))
    net.add_current("on", pace, amplitude=100.0)
    net.add_current("weak", calm, amplitude=1.2)
    rule = evsim.PairSTDP(a_plus=0.1, a_minus=0.0, w_max=0.001)
    plastic = net.connect(pace, calm, evsim.all_to_all(), weight=0.0005, delay=1.0, plasticity=rule)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(200.0)
    found = sim.diagnose()
    assert list(found.saturated) == ["pace"]
    assert found.saturated["pace"].highest == pytest.approx(400.0)
    assert found.saturated["pace"].rate == pytest.approx(400.0)
    assert found.saturated["pace"].share == 1.0
    assert found.stuck[plastic].at_max == 1.0
    assert not found.silent
    assert not found.unchanged
    assert "population 'pace' is saturated: 100% of its neurons" in str(found)
    assert "0% of its weights lie at w_min, 100% at w_max" in str(found)


def test_nothing_to_say():
    net = evsim.Network(dt=1.0, seed=1)
    cells = net.add_population("cells", 50, evsim.LIF(v_threshold=1.0))
    net.add_poisson("noise", cells, rate=100.0, weight=0.5)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(100.0)
    assert str(sim.diagnose()).endswith("no population is silent or saturated, no projection stuck")
