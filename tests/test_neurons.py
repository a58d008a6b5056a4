"""Neuron models against their closed forms.

A state recorded at step n is the state after the update of step n; the first update is that of step 0. So v has
been integrated over (n + 1) * dt when it is recorded at time n * dt.
"""

import numpy as np
import pytest
from scipy import stats

from evsim import IAF, LIF, Network, Simulation, lognormal, normal, one_to_one, uniform

NEVER = 1e9  # a threshold out of reach


def simulate(net, duration, spikes=(), state=None):
    """A finished simulation of a small network."""
    sim = Simulation(net, threads=1)
    if spikes or state:
        sim.record(spikes=spikes, state=state)
    sim.run(duration)
    return sim


def one_population(model, n=1, dt=0.1, v=None, seed=0):
    net = Network(dt=dt, seed=seed)
    return net, net.add_population("cells", n, model, v=v)


def send(net, target, steps, weight, receptor=None):
    """Let target neuron k get one spike of `weight`, which arrives in step steps[k]."""
    n = len(steps)
    source = net.add_spike_source(f"source {len(net.populations)}", n, np.arange(n), (np.array(steps) - 1) * net.dt)
    net.connect(source, target, one_to_one(), weight=weight, delay=net.dt, receptor=receptor)


def exact_steps(tau, v_inf, v_from, v_threshold, dt):
    """Steps from v_from to the threshold, before rounding up."""
    return tau / dt * np.log((v_inf - v_from) / (v_inf - v_threshold))


# --- constant current ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.1, 0.5])
def test_interspike_interval_is_the_closed_form(dt):
    """Every interval is ceil(tau/dt ln((v_inf - v_reset) / (v_inf - v_threshold))) + t_ref/dt steps."""
    rng = np.random.default_rng(1)
    n = 400
    tau, r_mem = rng.uniform(5.0, 50.0, n), rng.uniform(0.1, 3.0, n)
    v_leak, v_reset = rng.uniform(-70.0, -60.0, n), rng.uniform(-75.0, -60.0, n)
    v_threshold, t_ref = rng.uniform(-55.0, -45.0, n), dt * rng.integers(0, 30, n)
    v_inf = v_threshold + rng.uniform(2.0, 30.0, n)
    model = LIF(
        tau_mem=tau, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset, t_ref=t_ref, r_mem=r_mem,
        i_bias=(v_inf - v_leak) / r_mem,
    )  # fmt: skip
    net, cells = one_population(model, n, dt, v=v_reset)
    sim = simulate(net, 500.0, spikes=cells)

    exact = exact_steps(tau, v_inf, v_reset, v_threshold, dt)
    clear = np.abs(exact - np.rint(exact)) > 0.01  # elsewhere rounding decides
    assert clear.sum() > 350
    expected = np.ceil(exact) + np.rint(t_ref / dt)
    ids, times = sim.spikes(cells)
    steps = np.rint(times / dt)
    for k in np.flatnonzero(clear):
        train = steps[ids == k]
        assert train[0] == np.ceil(exact[k]) - 1
        np.testing.assert_array_equal(np.diff(train), expected[k])
        assert train[-1] + expected[k] >= 500.0 / dt  # and it never stops


@pytest.mark.parametrize("tau", [2.0, 20.0, 1000.0])
def test_subthreshold_v_is_the_closed_form(tau):
    """v = v_inf + (v_0 - v_inf) exp(-t/tau), to what single precision leaves: half an ulp of v each step."""
    model = LIF(tau_mem=tau, v_leak=-65.0, v_threshold=NEVER, v_reset=-65.0, r_mem=0.04, i_bias=250.0)
    net, cells = one_population(model, v=-80.0)
    recorded = simulate(net, 500.0, state={cells: "v"}).state(cells)
    t = recorded.times + 0.1
    exact = -55.0 + (-80.0 + 55.0) * np.exp(-t / tau)
    rounding = 2.0**-24 * 80.0 * tau / 0.1
    np.testing.assert_allclose(recorded.values[:, 0], exact, rtol=0.0, atol=max(rounding, 2e-5))


def test_a_current_below_rheobase_never_fires_and_one_above_does():
    net, cells = one_population(LIF(tau_mem=10.0, r_mem=2.0, v_threshold=1.0, i_bias=np.array([0.4999, 0.5001])), 2)
    sim = simulate(net, 1000.0, spikes=cells)
    assert set(sim.spikes(cells)[0]) == {1}


# --- synapses -----------------------------------------------------------------------------------------------------


def psp(t, tau_mem, tau_syn, r_mem):
    """v after a unit jump of the current at t = 0."""
    t = np.maximum(t, 0.0)
    if abs(tau_mem - tau_syn) < 1e-6 * tau_mem:
        return r_mem * t / tau_mem * np.exp(-t / tau_mem)
    return r_mem * tau_syn / (tau_mem - tau_syn) * (np.exp(-t / tau_mem) - np.exp(-t / tau_syn))


def test_psp_is_the_difference_of_exponentials():
    """Also where tau_syn equals tau_mem, or nearly: there it is the alpha function t/tau exp(-t/tau)."""
    tau_syn = np.array([0.5, 2.0, 9.9, 10.0, 10.0 * (1 + 1e-12), 10.0 * (1 + 1e-7), 10.1, 40.0])
    model = LIF(tau_mem=10.0, tau_syn=tau_syn, r_mem=0.04, v_threshold=NEVER)
    net, cells = one_population(model, tau_syn.size)
    send(net, cells, [30] * tau_syn.size, weight=100.0)
    sim = simulate(net, 100.0, state={cells: ["v", "i_syn"]})
    v, i = sim.state(cells, "v").values, sim.state(cells, "i_syn").values
    t = (np.arange(1000) - 30) * 0.1  # the current jumps in step 30, and v feels it from then on
    for k, tau in enumerate(tau_syn):
        exact = 100.0 * psp(t, 10.0, tau, 0.04)
        np.testing.assert_allclose(v[:, k], exact, rtol=0.0, atol=5e-6 * exact.max())
        np.testing.assert_allclose(i[:, k], np.where(t >= 0.0, 100.0 * np.exp(-t / tau), 0.0), rtol=0.0, atol=1e-3)


def test_delta_synapse_makes_v_jump_by_the_weight():
    """In the step of arrival, undecayed, whatever r_mem is; then v decays."""
    model = LIF(tau_mem=10.0, r_mem=7.0, v_leak=-65.0, v_threshold=NEVER, v_reset=-65.0)
    net, cells = one_population(model, 2)
    send(net, cells, [30, 40], weight=np.array([3.0, -2.0]))
    v = simulate(net, 20.0, state={cells: "v"}).state(cells).values
    for k, (step, weight) in enumerate([(30, 3.0), (40, -2.0)]):
        t = (np.arange(200) - step) * 0.1
        np.testing.assert_allclose(v[:, k], -65.0 + np.where(t >= 0.0, weight * np.exp(-t / 10.0), 0.0), atol=5e-5)


def test_receptors_have_their_own_time_constants_and_add_up():
    """A dict names any number of receptors, delta ones among them; their potentials are superposed."""
    model = LIF(tau_mem=10.0, tau_syn={"fast": 1.0, "slow": 25.0, "jump": None}, v_threshold=NEVER)
    net, cells = one_population(model)
    for receptor, step, weight in [("fast", 10, 5.0), ("slow", 20, -3.0), ("jump", 35, 0.7)]:
        send(net, cells, [step], weight, receptor)
    sim = simulate(net, 30.0, state={cells: ["v", "i_fast", "i_slow"]})
    t = np.arange(300) * 0.1
    jump = np.where(t > 3.45, 0.7 * np.exp(-(t - 3.5) / 10.0), 0.0)
    exact = 5.0 * psp(t - 1.0, 10.0, 1.0, 1.0) - 3.0 * psp(t - 2.0, 10.0, 25.0, 1.0) + jump
    np.testing.assert_allclose(sim.state(cells).values[:, 0], exact, atol=2e-6)
    for receptor, tau, start, weight in [("i_fast", 1.0, 1.0, 5.0), ("i_slow", 25.0, 2.0, -3.0)]:
        current = np.where(t > start - 0.05, weight * np.exp(-(t - start) / tau), 0.0)
        np.testing.assert_allclose(sim.state(cells, receptor).values[:, 0], current, rtol=1e-5, atol=1e-30)


def test_the_sign_chooses_between_two_receptors():
    net, cells = one_population(LIF(tau_syn=(1.0, 8.0), v_threshold=NEVER), 2)
    send(net, cells[0], [5], 2.0)
    send(net, cells[1], [5], -2.0)
    sim = simulate(net, 0.6, state={cells: ["i_exc", "i_inh"]})
    assert sim.state(cells, "i_exc").values[-1].tolist() == [2.0, 0.0]
    assert sim.state(cells, "i_inh").values[-1].tolist() == [0.0, -2.0]


# --- refractory time and reset --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t_ref", "steps"), [(0.0, 0), (0.1, 1), (0.26, 3), (2.0, 20)])
def test_refractory_time_in_whole_steps(t_ref, steps):
    """v stays at v_reset for round(t_ref / dt) steps; delta input that arrives in them is lost, later input is not."""
    n = steps + 3
    model = LIF(tau_mem=10.0, v_threshold=10.0, v_reset=1.0, t_ref=t_ref)
    net, cells = one_population(model, n)
    send(net, cells, [10] * n, weight=15.0)  # all fire in step 10
    send(net, cells, 11 + np.arange(n), weight=3.0)  # neuron k gets more in step 11 + k
    sim = simulate(net, 5.0, spikes=cells, state={cells: "v"})
    assert sim.spikes(cells)[1].tolist() == [1.0] * n
    v = sim.state(cells).values
    assert (v[10 : 11 + steps] == 1.0).all()
    time_free = (np.arange(50) - 10 - steps) * 0.1
    for k in range(n):
        exact = np.exp(-time_free / 10.0)
        if k >= steps:
            exact = exact + np.where(np.arange(50) >= 11 + k, 3.0 * np.exp(-(np.arange(50) - 11 - k) * 0.1 / 10.0), 0.0)
        np.testing.assert_allclose(v[11 + steps :, k], exact[11 + steps :], atol=1e-5)


def test_currents_go_on_while_refractory():
    """Input of an exponential synapse that arrives while refractory charges the current, which acts afterwards."""
    model = LIF(tau_mem=10.0, tau_syn=4.0, v_threshold=1.0, t_ref=1.0)
    net, cells = one_population(model, v=2.0)  # fires in step 0; steps 1 to 10 are refractory
    send(net, cells, [3], weight=0.5)
    sim = simulate(net, 3.0, spikes=cells, state={cells: ["v", "i_syn"]})
    assert sim.spikes(cells)[1].tolist() == [0.0]
    step = np.arange(30)
    current = np.where(step >= 3, 0.5 * np.exp(-(step - 3) * 0.1 / 4.0), 0.0)
    np.testing.assert_allclose(sim.state(cells, "i_syn").values[:, 0], current, rtol=1e-6)
    v = sim.state(cells).values[:, 0]
    assert (v[:11] == 0.0).all()
    np.testing.assert_allclose(v[11:], current[10] * psp((step[11:] - 10) * 0.1, 10.0, 4.0, 1.0), rtol=1e-5)


def test_a_refractory_time_longer_than_the_run_allows_one_spike():
    net, cells = one_population(LIF(i_bias=2.0, t_ref=np.array([100.0, 1e6])), 2)
    assert simulate(net, 90.0, spikes=cells).spikes(cells)[0].tolist() == [0, 1]


def test_hard_reset_and_soft_reset():
    """v_pre_reset is v before the reset; hard: v = v_reset; soft: v = v_pre_reset - (v_threshold - v_leak)."""
    net = Network(seed=3)
    parameters = {"tau_mem": 10.0, "v_leak": -65.0, "v_threshold": -50.0, "t_ref": 0.5}
    hard = net.add_population("hard", 1, LIF(**parameters, v_reset=-70.0))
    soft = net.add_population("soft", 1, LIF(**parameters, v_reset=None))
    iaf = net.add_population("iaf", 1, IAF(v_threshold=4.0, v_reset=None))
    net.add_poisson("noise", [hard, soft, iaf], rate=5000.0, weight=4.0)
    sim = simulate(net, 200.0, [hard, soft, iaf], {p: ["v", "v_pre_reset"] for p in (hard, soft, iaf)})
    for population, threshold, after in [
        (hard, -50.0, lambda v: np.full_like(v, -70.0)),
        (soft, -50.0, lambda v: v - np.float32(15.0)),
        (iaf, 4.0, lambda v: v - np.float32(4.0)),
    ]:
        v, before = (sim.state(population, name).values[:, 0] for name in ("v", "v_pre_reset"))
        fired = np.isin(np.arange(2000), np.rint(sim.spikes(population)[1] / 0.1))
        assert 20 < fired.sum() < 2000
        assert (before[fired] >= threshold).all()
        np.testing.assert_array_equal(v[fired], after(before[fired]))
        np.testing.assert_array_equal(v[~fired], before[~fired])


def test_soft_reset_keeps_what_is_above_the_threshold():
    """3.5 thresholds at once are one spike in each of three steps."""
    net, cells = one_population(IAF(v_threshold=2.0, v_reset=None))
    send(net, cells, [7], weight=7.0)
    sim = simulate(net, 2.0, spikes=cells, state={cells: "v"})
    np.testing.assert_allclose(sim.spikes(cells)[1], [0.7, 0.8, 0.9])
    assert sim.state(cells).values[-1, 0] == 1.0


def test_a_neuron_fires_at_the_threshold_itself():
    net, cells = one_population(IAF(v_threshold=2.0), 3)
    send(net, cells, [7, 7, 7], weight=np.array([2.0 - 2.0**-16, 2.0, 2.0 + 2.0**-16]))
    assert simulate(net, 2.0, spikes=cells).spikes(cells)[0].tolist() == [1, 2]


# --- IAF ----------------------------------------------------------------------------------------------------------


def test_iaf_rate_is_a_relu_of_the_input():
    """With a constant leak and v_min = 0 spikes per ms are max(0, r_mem * i - leak) / v_threshold."""
    current = np.linspace(-2.0, 3.0, 51)
    model = IAF(leak=0.75, v_threshold=5.0, v_reset=None, r_mem=1.5, v_min=0.0)
    net, cells = one_population(model, current.size)
    net.add_current("input", cells, current)
    sim = simulate(net, 2000.0, spikes=cells, state={cells: "v"})
    count = np.bincount(sim.spikes(cells)[0], minlength=current.size)
    relu = np.maximum(1.5 * current - 0.75, 0.0) * 2000.0 / 5.0
    assert (np.abs(count - relu) < 1.5).all()
    assert (sim.state(cells).values >= 0.0).all()
    assert (sim.values(cells)[1.5 * current < 0.7] == 0.0).all()


def test_iaf_keeps_v_without_a_leak_and_integrates_currents_exactly():
    """An exponential current of weight w raises v by w * r_mem * tau_syn (1 - exp(-t/tau_syn))."""
    net, cells = one_population(IAF(tau_syn=5.0, r_mem=0.2, v_threshold=NEVER), v=1.25)
    send(net, cells, [20], weight=3.0)
    v = simulate(net, 60.0, state={cells: "v"}).state(cells).values[:, 0]
    assert (v[:21] == 1.25).all()
    t = (np.arange(600) - 20)[20:] * 0.1
    np.testing.assert_allclose(v[20:], 1.25 + 3.0 * 0.2 * 5.0 * -np.expm1(-t / 5.0), atol=2e-5)


@pytest.mark.parametrize("model", [LIF(tau_mem=10.0, v_min=-2.0, i_bias=-5.0), IAF(leak=0.5, v_min=-2.0)])
def test_v_min_bounds_v(model):
    net, cells = one_population(model)
    send(net, cells, [300], weight=0.5)
    v = simulate(net, 40.0, state={cells: "v"}).state(cells).values[:, 0]
    assert v.min() == -2.0
    assert v[299] == -2.0
    assert -2.0 < v[300] < -1.4  # and it leaves the bound at once
    assert v[-1] == -2.0


# --- parameters ---------------------------------------------------------------------------------------------------


def per_neuron(n):
    """Parameters that all differ between neurons, for both models."""
    rng = np.random.default_rng(5)
    shared = {
        "tau_syn": (rng.uniform(0.5, 3.0, n), rng.uniform(2.0, 10.0, n)),
        "v_threshold": rng.uniform(8.0, 12.0, n),
        "v_reset": rng.uniform(-3.0, 1.0, n),
        "t_ref": 0.1 * rng.integers(0, 25, n),
        "r_mem": rng.uniform(0.5, 1.5, n),
        "i_bias": rng.uniform(-1.0, 1.0, n),
        "v_min": rng.uniform(-8.0, -4.0, n),
    }
    lif = {"tau_mem": rng.uniform(5.0, 30.0, n), "v_leak": rng.uniform(-2.0, 2.0, n)}
    return [(LIF, shared | lif), (IAF, shared | {"leak": rng.uniform(0.0, 0.5, n)})]


def of_neuron(parameters, k):
    """The parameters of one neuron."""
    return {
        name: tuple(tau[k] for tau in value) if isinstance(value, tuple) else value[k]
        for name, value in parameters.items()
    }


@pytest.mark.parametrize("case", [0, 1], ids=["LIF", "IAF"])
def test_arrays_of_parameters_equal_separate_populations(case):
    """Bit for bit, under input that makes every parameter matter."""
    n = 7
    model, parameters = per_neuron(n)[case]
    rng = np.random.default_rng(6)
    v0, amplitude = rng.uniform(-2.0, 6.0, n), rng.uniform(-20.0, 60.0, (60, n))
    ids = np.repeat(np.arange(n), 40)
    trains = [np.concatenate([np.sort(rng.choice(3000, 40, replace=False)) * 0.1 for _ in range(n)]) for _ in "ei"]

    net = Network()
    together = net.add_population("together", n, model(**parameters), v=v0)
    apart = [net.add_population(f"cell {k}", 1, model(**of_neuron(parameters, k)), v=v0[k]) for k in range(n)]
    sources = [net.add_spike_source(f"source {r}", n, ids, trains[r]) for r in range(2)]
    for k, part in [*((k, together[k]) for k in range(n)), *enumerate(apart)]:
        net.add_current("current", part, amplitude[:, k], times=np.arange(60) * 5.0)
        for source, weight in zip(sources, (8.0, -6.0), strict=True):
            net.connect(source[k], part, one_to_one(), weight=weight, delay=0.1)
    variables = ["v", "v_pre_reset", "i_exc", "i_inh"]
    sim = simulate(net, 300.0, [together, *apart], dict.fromkeys((together, *apart), variables))

    ids, times = sim.spikes(together)
    for k in range(n):
        assert np.count_nonzero(ids == k) > 5
        np.testing.assert_array_equal(times[ids == k], sim.spikes(apart[k])[1])
        for name in variables:
            np.testing.assert_array_equal(
                sim.state(together, name).values[:, k], sim.state(apart[k], name).values[:, 0]
            )


def test_parameters_drawn_from_distributions():
    """Seen in v after one step, dt * i_bias, and in the reset; independent of each other and of other populations."""
    n = 20_000
    net = Network(dt=1.0, seed=9)
    for name in "ab":
        model = IAF(i_bias=normal(3.0, 0.5), v_reset=uniform(-4.0, -2.0), v_threshold=10.0)
        net.add_population(name, n, model)
    drawn = {}
    for population in net.populations.values():
        sim = Simulation(net, threads=1)
        sim.run(1.0)
        drawn["bias", population.name] = sim.values(population).astype(float)
        net.add_current("kick", population, [1e6, 0.0], times=[1.0, 2.0])
        sim = Simulation(net, threads=1)
        sim.run(2.0)
        drawn["reset", population.name] = sim.values(population).astype(float)
    for name in "ab":
        assert stats.kstest(drawn["bias", name], stats.norm(3.0, 0.5).cdf).pvalue > 1e-3
        assert stats.kstest(drawn["reset", name], stats.uniform(-4.0, 2.0).cdf).pvalue > 1e-3
    correlations = np.corrcoef(list(drawn.values()))[np.triu_indices(4, 1)]
    assert (np.abs(correlations) < 4.0 / np.sqrt(n)).all()


def test_initial_v_is_a_value_an_array_a_distribution_or_rest():
    net = Network(seed=2)
    model = LIF(v_leak=-65.0, v_threshold=-50.0, v_reset=-65.0)
    array = np.linspace(-70.0, -51.0, 300)
    value = net.add_population("value", 300, model, v=-60.0)
    listed = net.add_population("array", 300, model, v=array)
    drawn = net.add_population("drawn", 20_000, model, v=normal(-58.0, 5.0, high=-51.0))
    rest = net.add_population("rest", 3, LIF(v_leak=np.array([-65.0, -60.0, -70.0]), v_threshold=0.0, v_reset=-80.0))
    zero = net.add_population("zero", 3, IAF(leak=1.0))
    sim = Simulation(net, threads=1)
    assert (sim.values(value) == -60.0).all()
    np.testing.assert_array_equal(sim.values(listed), array.astype(np.float32))
    exact = stats.truncnorm(-np.inf, 7.0 / 5.0, -58.0, 5.0)
    assert stats.kstest(sim.values(drawn), exact.cdf).pvalue > 1e-3
    assert sim.values(rest).tolist() == [-65.0, -60.0, -70.0]
    assert sim.values(zero).tolist() == [0.0] * 3


def test_initial_values_follow_the_seed():
    def draw(seed):
        net, cells = one_population(LIF(), 100, v=lognormal(0.0, 0.5), seed=seed)
        return Simulation(net, threads=1).values(cells)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).all()
    assert (draw(1) != draw(1 + 2**32)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF(tau_m=10.0), "LIF: unknown parameter 'tau_m'; did you mean 'tau_mem'"),
        (lambda: LIF(v_thresh=1.0), "did you mean 'v_threshold'"),
        (lambda: LIF(tref=2.0), "did you mean 't_ref'"),
        (lambda: IAF(leek=1.0), "IAF: unknown parameter 'leek'; did you mean 'leak'"),
        (lambda: IAF(tau_mem=1.0), r"IAF: unknown parameter 'tau_mem'.*known are tau_syn, leak"),
    ],
)
def test_an_unknown_parameter_names_the_nearest(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LIF(tau_mem=0.0), r"'cells': tau_mem is 0.0; it must be above 0 ms"),
        (LIF(tau_mem=np.array([1.0, -2.0])), r"tau_mem\[1\] is -2.0"),
        (LIF(tau_mem=np.ones(3)), r"tau_mem has shape \(3,\); it must be one number or have shape \(2,\)"),
        (LIF(tau_mem=normal(10.0, 2.0)), r"tau_mem is drawn from normal\(10, 2\), which reaches"),
        (LIF(tau_syn=(1.0, 0.0)), r"tau_syn.inh is 0.0"),
        (LIF(tau_syn=(1.0, 2.0, 3.0)), "tau_syn has 3 entries"),
        (LIF(tau_syn={}), "tau_syn"),
        (LIF(t_ref=-1.0), "t_ref is -1.0; it must be at least 0 ms"),
        (LIF(t_ref=1e9), r"t_ref is up to 1e\+09 ms; it must be at most"),
        (LIF(v_leak=np.nan), "v_leak is nan; it must be finite"),
        (LIF(i_bias=np.array([1.0, np.inf])), r"i_bias\[1\] is inf"),
        (LIF(v_threshold=1e39), r"v_threshold is 1e\+39; it must be at most"),
        (IAF(r_mem=0.0), "r_mem is 0.0; it must be above 0"),
        (LIF(v_reset=1.0), "v_reset is 1.0, v_threshold 1; v_reset must be below v_threshold"),
        (LIF(v_reset=np.array([0.0, 3.0]), v_threshold=2.0), r"v_reset\[1\] is 3.0, v_threshold 2"),
        (LIF(v_reset=0.0, v_threshold=uniform(-1.0, 1.0)), "v_reset must be below v_threshold"),
        (IAF(v_min=1.0, v_reset=None), "v_min is 1.0, v_threshold 1; v_min must be below v_threshold"),
        (LIF(v_min=np.array([0.0, np.inf])), r"v_min\[1\] is inf, v_threshold 1"),
    ],
)
def test_impossible_parameters_are_refused_by_name(model, message):
    with pytest.raises(ValueError, match=message):
        Network().add_population("cells", 2, model)
