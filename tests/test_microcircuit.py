"""Published networks: the cortical microcircuit against NEST, Brunel's network against mean-field theory."""

import numpy as np
import pytest
from scipy import integrate, optimize, special

from evsim import LIF, Network, Simulation, uniform
from evsim.analysis import cv_isi, pairwise_correlations, population_rates
from evsim.reference_networks import brunel, microcircuit

# Hz at scale 0.1, Poisson drive, 3 s after 0.5 s: NEST 3.10, mean of the authors' PyNEST code
# (INM-6/microcircuit-PD14-model fd40046e) and of bench/peers/nest_microcircuit.py, which differ by 1 to 2 %.
NEST_RATES = {
    "L23E": 0.492, "L23I": 2.134, "L4E": 4.002, "L4I": 5.016,
    "L5E": 6.581, "L5I": 7.789, "L6E": 0.828, "L6I": 7.020,
}  # fmt: skip
START, STOP = 500.0, 3500.0  # ms


# --- microcircuit -------------------------------------------------------------------------------------------------


def test_the_full_microcircuit_has_the_published_numbers():
    net = microcircuit()
    assert sum(p.size for p in net.populations.values()) == 77_169
    assert sum(q.expected_synapses() for q in net.projections) == pytest.approx(298_880_968, abs=2)
    by_name = {q.name: q for q in net.projections}
    assert by_name["L4E->L4E"].weight.a == pytest.approx(87.8085, rel=1e-5)  # pA
    assert by_name["L4E->L23E"].weight.a == pytest.approx(175.6170, rel=1e-5)
    assert by_name["L6I->L6E"].weight.a == pytest.approx(-351.2340, rel=1e-5)
    rates = [float(s.rates[0, 0]) for s in net.poissons]
    assert rates == [12800.0, 12000.0, 16800.0, 15200.0, 16000.0, 15200.0, 23200.0, 16800.0]
    assert all(p.model.i_bias == 0.0 for p in net.populations.values())
    dc = [p.model.i_bias for p in microcircuit(drive="dc").populations.values()]
    np.testing.assert_allclose(dc, [561.9744, 526.851, 737.5913, 667.3446, 702.4679, 667.3446, 1018.5785, 737.5913])


def test_the_scaled_microcircuit_is_scaled_as_the_authors_do():
    net = microcircuit(scale=0.1)
    assert sum(round(q.expected_synapses()) for q in net.projections) == 2_988_807
    bias = [p.model.i_bias for p in net.populations.values()]
    expected = [29.0350, 112.3712, 112.9697, 114.9903, 125.4183, 151.6845, 43.8469, 153.7097]
    np.testing.assert_allclose(bias, expected, rtol=1e-5)
    assert [round(float(s.rates[0, 0])) for s in net.poissons] == [1280, 1200, 1680, 1520, 1600, 1520, 2320, 1680]
    np.testing.assert_allclose([s.weight for s in net.poissons], 277.6748, rtol=1e-5)


@pytest.fixture(scope="module")
def small_microcircuit():
    """Spikes of the microcircuit at scale 0.1: population -> (size, ids, times)."""
    net = microcircuit(scale=0.1)
    sim = Simulation(net, threads=2)
    populations = list(net.populations.values())
    sim.record(spikes=populations)
    sim.run(STOP)
    spikes = {}
    for population in populations:
        ids, times = sim.spikes(population)
        late = times >= START
        spikes[population.name] = (population.size, ids[late], times[late])
    return spikes


@pytest.mark.slow
@pytest.mark.parametrize("name", NEST_RATES)
def test_microcircuit_rates_are_those_of_nest(small_microcircuit, name):
    """Within 10 %, and three standard errors of the difference of two such runs."""
    size, _, times = small_microcircuit[name]
    _, rates = population_rates(times, size, START, STOP, 300.0)
    error = rates.std(ddof=1) / np.sqrt(rates.size)
    assert abs(rates.mean() - NEST_RATES[name]) < 0.1 * NEST_RATES[name] + 3.0 * np.sqrt(2.0) * error


@pytest.mark.slow
@pytest.mark.parametrize("name", NEST_RATES)
def test_microcircuit_fires_irregularly_and_asynchronously(small_microcircuit, name):
    """CV of the intervals near those published, 0.80 to 0.94 (a little lower: 3 s cut long intervals off)."""
    size, ids, times = small_microcircuit[name]
    cv = cv_isi(ids, times, size, min_spikes=8)
    assert 0.65 < np.nanmean(cv) < 1.0
    correlation = pairwise_correlations(ids, times, size, START, STOP, bin_width=2.0)
    assert correlation.size > 1000
    assert abs(correlation.mean()) < 0.02


# --- Brunel and mean-field theory ---------------------------------------------------------------------------------


def siegert_rate(mean, spread, model, dt):
    """Rate (Hz) of an LIF neuron whose free v has `mean` and, white noise given, variance spread^2 / 2.

    Siegert 1951; the threshold is raised as if by 0.58 standard deviations of one step's noise, since v is
    compared with it at the steps only (Chernoff & Petkau 1981).
    """
    shift = 0.5826 * spread * np.sqrt(dt / model.tau_mem)
    low, high = (model.v_reset - mean) / spread, (model.v_threshold + shift - mean) / spread
    integral, _ = integrate.quad(lambda x: special.erfcx(-x), low, high)
    return 1e3 / (model.t_ref + model.tau_mem * np.sqrt(np.pi) * integral)


def siegert_cv(mean, spread, model, dt):
    """CV of its intervals (Brunel 2000, eq. A.10), with the same shift of the threshold."""
    shift = 0.5826 * spread * np.sqrt(dt / model.tau_mem)
    low, high = (model.v_reset - mean) / spread, (model.v_threshold + shift - mean) / spread
    x = np.linspace(min(low, -3.0) - 5.0, high, 40_001)
    inner = integrate.cumulative_trapezoid(np.exp(-(x**2)) * special.erfcx(-x) ** 2, x, initial=0.0)
    inside = x >= low
    outer = integrate.simpson((np.exp(x**2) * inner)[inside], x=x[inside])
    rate = 1e-3 * siegert_rate(mean, spread, model, dt) * model.tau_mem
    return np.sqrt(2.0 * np.pi * outer) * rate


@pytest.mark.parametrize(
    ("excitation", "inhibition"),
    [(12_000.0, 0.0), (20_000.0, 0.0), (40_000.0, 30_000.0), (60_000.0, 52_000.0), (100_000.0, 93_000.0)],
)
def test_rate_and_cv_under_noise_are_those_of_theory(excitation, inhibition):
    """From regular firing above the threshold (mean 24 of 20 mV) to irregular firing below (mean 14 mV)."""
    model = LIF(tau_mem=20.0, v_threshold=20.0, v_reset=10.0, t_ref=2.0)
    weight, n = 0.1, 500
    net = Network(dt=0.1, seed=1)
    cells = net.add_population("cells", n, model, v=uniform(10.0, 20.0))
    net.add_poisson("excitation", cells, excitation, weight)
    net.add_poisson("inhibition", cells, inhibition, -weight)
    sim = Simulation(net, threads=2)
    sim.record(spikes=cells)
    sim.run(5500.0)
    ids, times = sim.spikes(cells)
    ids, times = ids[times >= 500.0], times[times >= 500.0]

    mean = 0.02 * weight * (excitation - inhibition)
    spread = np.sqrt(0.02 * weight**2 * (excitation + inhibition))
    cv = np.nanmean(cv_isi(ids, times, n, min_spikes=20))
    assert ids.size / (n * 5.0) == pytest.approx(siegert_rate(mean, spread, model, net.dt), rel=0.03)
    assert cv == pytest.approx(siegert_cv(mean, spread, model, net.dt), rel=0.05)


def test_the_free_potential_has_the_mean_and_the_variance_of_filtered_noise():
    """Campbell's theorem on the grid: mean m / (1 - a) and variance m w / (1 - a^2), a spike w, m = w rate dt."""
    net = Network(dt=0.1, seed=1)
    cells = net.add_population("cells", 1000, LIF(tau_mem=20.0, v_threshold=1e9))
    net.add_poisson("noise", cells, 5000.0, weight=0.2)
    sim = Simulation(net, threads=2)
    sim.record(state={cells: "v"}, every=40.0)
    sim.run(8200.0)
    v = sim.state(cells).values[5:]  # 200 samples of each, two time constants apart
    a, m = np.exp(-0.1 / 20.0), 0.2 * 5.0 * 0.1
    assert v.mean() == pytest.approx(m / (1.0 - a), rel=2e-3)
    assert v.var() == pytest.approx(0.2 * m / (1.0 - a * a), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("drive", [12_000.0, 20_000.0])
def test_brunel_network_fires_as_mean_field_theory_says(drive):
    """Its rate reproduces itself: what the network sends is what makes it fire at that rate."""
    net = brunel(5000, drive)
    exc, inh = net.populations.values()
    model, dt = exc.model, net.dt
    sim = Simulation(net, threads=2)
    sim.record(spikes=[exc, inh])
    sim.run(1500.0)

    n_exc, n_inh = exc.size // 10, inh.size // 10

    def surplus(rate):
        mean = 0.02 * (0.1 * drive + (0.1 * n_exc - 0.5 * n_inh) * rate)
        spread = np.sqrt(0.02 * (0.01 * drive + (0.01 * n_exc + 0.25 * n_inh) * rate))
        return siegert_rate(mean, spread, model, dt) - rate

    expected = optimize.brentq(surplus, 0.1, 400.0)
    for population in (exc, inh):
        ids, times = sim.spikes(population)
        ids, times = ids[times >= 500.0], times[times >= 500.0]
        assert ids.size / population.size == pytest.approx(expected, rel=0.06)
        assert pairwise_correlations(ids, times, population.size, 500.0, 1500.0).mean() == pytest.approx(0.0, abs=0.02)
