"""Connection rules: exact degrees where they are promised, the right distribution where they are drawn.

Draws are functions of the seed, so these statistical tests give the same answer each time; a p-value is asked
to lie away from 0 (not what was promised) and from 1 (too regular to be drawn).
"""

import math

import numpy as np
import pytest
from scipy import sparse, stats

import evsim
from evsim.checks import DelayWarning

RULES = {
    "all_to_all": evsim.all_to_all(),
    "one_to_one": evsim.one_to_one(),
    "fixed_indegree": evsim.fixed_indegree(7),
    "fixed_outdegree": evsim.fixed_outdegree(7),
    "fixed_total_number": evsim.fixed_total_number(3000),
    "pairwise_bernoulli": evsim.pairwise_bernoulli(0.05),
    "explicit": evsim.explicit([0, 499, 3, 3, 130], [499, 0, 257, 257, 3]),
    "scipy.sparse": sparse.random(500, 500, 0.02, rng=np.random.default_rng(1)),
}


def draw(rule, n_source=500, n_target=500, weight=1.0, delay=1.0, seed=1, threads=1, before=0):
    """The synapses of one projection between two populations, made after `before` others."""
    net = evsim.Network(dt=0.1, seed=seed)
    source = net.add_population("source", n_source, evsim.IAF())
    target = net.add_population("target", n_target, evsim.IAF())
    for _ in range(before):
        net.connect(target, source, evsim.fixed_indegree(2), 0.5, 2.0)
    projection = net.connect(source, target, rule, weight, delay)
    return evsim.Simulation(net, threads=threads).synapses(projection)


def draw_within(rule, source, target, size=60):
    """(pre, post), numbered within one population of `size` neurons, between two slices of it."""
    net = evsim.Network(dt=0.1, seed=1)
    population = net.add_population("p", size, evsim.IAF())
    projection = net.connect(population[source], population[target], rule, 1.0, 1.0)
    synapses = evsim.Simulation(net, threads=2).synapses(projection)
    return synapses.pre + projection.source.start, synapses.post + projection.target.start


def indegrees(synapses, n):
    return np.bincount(synapses.post, minlength=n)


def outdegrees(synapses, n):
    return np.bincount(synapses.pre, minlength=n)


def assert_plausible(statistic, freedom):
    p = stats.chi2.sf(statistic, freedom)
    assert 1e-4 < p < 1 - 1e-4, f"chi-square {statistic:.1f} with {freedom} degrees of freedom: p = {p:.2g}"


def assert_multinomial(counts):
    """Counts of independent draws, each as likely to fall on any entry."""
    assert_plausible(((counts - counts.mean()) ** 2 / counts.mean()).sum(), counts.size - 1)


def assert_binomial(counts, trials, p):
    """Independent counts of successes among `trials`."""
    assert_plausible(((counts - trials * p) ** 2).sum() / (trials * p * (1 - p)), counts.size)


def assert_subset(counts, trials, p):
    """How often each entry is in one of `trials` subsets that hold a share p of all."""
    n = counts.size
    statistic = ((counts - trials * p) ** 2).sum() / (trials * p * (1 - p)) * (n - 1) / n
    assert_plausible(statistic, n - 1)


# exact degrees, and the distribution of those that are free


def test_all_to_all_joins_every_pair_once():
    synapses = draw(evsim.all_to_all(), 30, 200)
    assert synapses.pre.tolist() == np.repeat(np.arange(30), 200).tolist()
    assert synapses.post.tolist() == np.tile(np.arange(200), 30).tolist()


def test_one_to_one_joins_equal_indices():
    synapses = draw(evsim.one_to_one(), 300, 300)
    assert synapses.pre.tolist() == synapses.post.tolist() == list(range(300))


def test_fixed_indegree_with_multapses():
    synapses = draw(evsim.fixed_indegree(40), 300, 700)
    assert (indegrees(synapses, 700) == 40).all()
    assert_multinomial(outdegrees(synapses, 300))


def test_fixed_indegree_without_multapses():
    synapses = draw(evsim.fixed_indegree(40, allow_multapses=False), 300, 700)
    assert (indegrees(synapses, 700) == 40).all()
    assert len(set(zip(*synapses[:2], strict=True))) == 40 * 700
    assert_subset(outdegrees(synapses, 300), 700, 40 / 300)


def test_fixed_outdegree_with_multapses():
    synapses = draw(evsim.fixed_outdegree(40), 700, 300)
    assert (outdegrees(synapses, 700) == 40).all()
    assert_multinomial(indegrees(synapses, 300))


def test_fixed_outdegree_without_multapses():
    synapses = draw(evsim.fixed_outdegree(40, allow_multapses=False), 700, 300)
    assert (outdegrees(synapses, 700) == 40).all()
    assert len(set(zip(*synapses[:2], strict=True))) == 40 * 700
    assert_subset(indegrees(synapses, 300), 700, 40 / 300)


def test_fixed_total_number_with_multapses():
    synapses = draw(evsim.fixed_total_number(50_000), 300, 200)
    assert synapses.pre.size == 50_000
    assert_multinomial(outdegrees(synapses, 300))
    assert_multinomial(indegrees(synapses, 200))
    assert_multinomial(np.bincount(synapses.pre // 30 * 200 + synapses.post))  # jointly too


def test_fixed_total_number_without_multapses():
    synapses = draw(evsim.fixed_total_number(30_000, allow_multapses=False), 300, 200)
    pairs = np.unique(synapses.pre * 200 + synapses.post)
    assert pairs.size == synapses.pre.size == 30_000
    chosen = np.zeros(300 * 200)
    chosen[pairs] = 1.0
    assert_subset(chosen.reshape(-1, 50).sum(axis=1), 50, 0.5)  # hypergeometric counts of fifty pairs each
    assert_subset(indegrees(synapses, 200), 300, 0.5)
    assert_subset(outdegrees(synapses, 300), 200, 0.5)


def test_fixed_total_number_without_multapses_can_take_every_pair():
    synapses = draw(evsim.fixed_total_number(35, allow_multapses=False), 5, 7)
    assert sorted(zip(*synapses[:2], strict=True)) == [(i, j) for i in range(5) for j in range(7)]


def test_pairwise_bernoulli_degrees_are_binomial():
    synapses = draw(evsim.pairwise_bernoulli(0.1), 400, 600)
    assert len(set(zip(*synapses[:2], strict=True))) == synapses.pre.size
    assert_binomial(np.array([synapses.pre.size]), 400 * 600, 0.1)
    assert_binomial(indegrees(synapses, 600), 400, 0.1)
    assert_binomial(outdegrees(synapses, 400), 600, 0.1)


@pytest.mark.parametrize(("p", "n"), [(0.0, 0), (1.0, 130 * 40)])
def test_pairwise_bernoulli_at_its_ends_is_certain(p, n):
    assert draw(evsim.pairwise_bernoulli(p), 130, 40).pre.size == n


def test_explicit_keeps_every_entry():
    pre, post = np.array([5, 0, 5, 299, 5]), np.array([2, 1, 2, 199, 0])
    synapses = draw(evsim.explicit(pre, post), 300, 200)
    assert sorted(zip(*synapses[:2], strict=True)) == sorted(zip(pre, post, strict=True))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.csr_matrix])
def test_sparse_matrix_gives_pairs_and_weights(kind):
    dense = np.zeros((300, 200))
    dense[[0, 7, 7, 299], [199, 3, 4, 0]] = [0.5, -2.0, 1.0, 0.25]
    net = evsim.Network()
    source, target = (net.add_population(name, n, evsim.IAF()) for name, n in (("a", 300), ("b", 200)))
    projection = net.connect(source, target, kind(dense), delay=1.0)
    np.testing.assert_allclose(evsim.Simulation(net).weights(projection).toarray(), dense, atol=1e-5)


def test_sparse_matrix_takes_other_weights():
    synapses = draw(sparse.coo_array(np.eye(3)), 3, 3, weight=7.0)
    assert synapses.weight == pytest.approx([7.0] * 3)


@pytest.mark.parametrize(
    "rule",
    [
        evsim.fixed_indegree(0),
        evsim.fixed_outdegree(0),
        evsim.fixed_total_number(0),
        evsim.explicit([], []),
        sparse.coo_array((4, 5)),
    ],
    ids=lambda rule: getattr(rule, "name", "scipy.sparse"),
)
def test_no_synapses_is_a_network_too(rule):
    net = evsim.Network()
    source, target = (net.add_population(name, n, evsim.IAF(i_bias=1.0)) for name, n in (("a", 4), ("b", 5)))
    projection = net.connect(source, target, rule, 1.0, 1.0)
    sim = evsim.Simulation(net)
    sim.run(2.0)
    assert sim.n_synapses == sim.synapses(projection).pre.size == 0
    assert sim.n_spikes > 0


# partners: any subset is as likely as any other, whatever the row


@pytest.mark.parametrize("k", [1, 2, 9])
def test_subsets_of_a_small_population_are_uniform(k):
    synapses = draw(evsim.fixed_indegree(k, allow_multapses=False), 10, 30_000)
    order = np.lexsort((synapses.pre, synapses.post))
    subsets = synapses.pre[order].reshape(30_000, k)
    _, counts = np.unique(subsets, axis=0, return_counts=True)
    assert counts.size == math.comb(10, k)
    assert_multinomial(counts)


@pytest.mark.parametrize("multapses", [True, False])
def test_neighbouring_rows_are_independent(multapses):
    """Partners of rows 2 i and 2 i + 1: every combination of two is as likely."""
    synapses = draw(evsim.fixed_indegree(1, allow_multapses=multapses), 16, 40_000)
    partner = synapses.pre[np.argsort(synapses.post)]
    assert_multinomial(np.bincount(partner[::2] * 16 + partner[1::2], minlength=256))
    assert_multinomial(np.bincount(partner[:-128] * 16 + partner[128:], minlength=256))


def test_multapses_are_as_common_as_chance_makes_them():
    synapses = draw(evsim.fixed_indegree(2), 50, 20_000)
    partner = synapses.pre[np.argsort(synapses.post, kind="stable")].reshape(-1, 2)
    assert_binomial(np.array([(partner[:, 0] == partner[:, 1]).sum()]), 20_000, 1 / 50)


def test_large_populations():
    n = 200_000
    for rule in (evsim.fixed_indegree(5), evsim.fixed_indegree(5, allow_multapses=False)):
        synapses = draw(rule, n, n, threads=2)
        assert (indegrees(synapses, n) == 5).all()
        assert_multinomial(np.bincount(synapses.pre // 500))
    assert np.unique(synapses.pre * n + synapses.post).size == 5 * n
    assert stats.pearsonr(synapses.pre, synapses.post).pvalue > 1e-3


def test_distinct_pairs_of_more_than_2_to_the_32():
    n = 100_000
    synapses = draw(evsim.fixed_total_number(200_000, allow_multapses=False), n, n)
    assert np.unique(synapses.pre * n + synapses.post).size == 200_000
    assert_multinomial(np.bincount(synapses.pre // 1000))
    assert_multinomial(np.bincount(synapses.post // 1000))
    assert_multinomial(np.bincount(synapses.pre // 10_000 * 10 + synapses.post // 10_000))


# autapses and multapses, in every combination


SLICES = {
    "one population": (slice(None), slice(None)),
    "overlapping slices": (slice(0, 40), slice(10, 60)),
    "one slice within the other": (slice(20, 30), slice(None)),
    "disjoint slices": (slice(0, 25), slice(25, 60)),
    "disjoint slices, backwards": (slice(25, 60), slice(0, 25)),
}


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("name", ["fixed_indegree", "fixed_outdegree", "fixed_total_number"])
@pytest.mark.parametrize("slices", SLICES)
def test_autapses_and_multapses(slices, name, autapses, multapses):
    source, target = SLICES[slices]
    n_source, n_target = (len(range(60)[part]) for part in (source, target))
    overlap = set(range(60)[source]) & set(range(60)[target])
    n_pairs = n_source * n_target - (0 if autapses else len(overlap))
    size = {
        "fixed_indegree": n_source - (0 if autapses or not overlap else 1),  # as many as there can be
        "fixed_outdegree": n_target - (0 if autapses or not overlap else 1),
        "fixed_total_number": n_pairs,
    }[name]
    rule = getattr(evsim, name)(size, allow_autapses=autapses, allow_multapses=multapses)
    if name == "fixed_total_number" and not autapses and not multapses and slices.startswith(("over", "one s")):
        with pytest.raises(ValueError, match=r"p\[.*overlapping slices .* not possible"):
            draw_within(rule, source, target)
        return
    pre, post = draw_within(rule, source, target)
    assert set(pre) <= set(range(60)[source])
    assert set(post) <= set(range(60)[target])
    assert autapses or not (pre == post).any()
    assert not (autapses and overlap) or (pre == post).any()
    pairs = np.unique(pre * 60 + post)
    if multapses:
        assert pairs.size < pre.size
    else:
        assert pairs.size == pre.size
    if name == "fixed_indegree":
        assert (np.bincount(post, minlength=60)[target] == size).all()
    elif name == "fixed_outdegree":
        assert (np.bincount(pre, minlength=60)[source] == size).all()
    else:
        assert pre.size == n_pairs


@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("slices", SLICES)
def test_autapses_of_pairwise_rules(slices, autapses):
    source, target = SLICES[slices]
    wanted = {(i, j) for i in range(60)[source] for j in range(60)[target] if autapses or i != j}
    for rule in (evsim.all_to_all(autapses), evsim.pairwise_bernoulli(1.0, autapses)):
        assert set(zip(*draw_within(rule, source, target), strict=True)) == wanted
    pre, post = draw_within(evsim.pairwise_bernoulli(0.5, autapses), source, target)
    assert set(zip(pre, post, strict=True)) < wanted


@pytest.mark.parametrize("multapses", [True, False])
def test_others_stay_uniform_where_autapses_are_excluded(multapses):
    rule = evsim.fixed_indegree(1, allow_autapses=False, allow_multapses=multapses)
    pre, post = draw_within(rule, slice(None), slice(None), size=20_001)
    distance = (pre - post) % 20_001
    assert_multinomial(np.bincount(distance - 1, minlength=20_000).reshape(-1, 20).sum(axis=1))


def test_a_rule_between_single_neurons():
    for rule in (evsim.all_to_all(), evsim.one_to_one(), evsim.fixed_indegree(1), evsim.fixed_outdegree(1)):
        assert draw_within(rule, slice(7, 8), slice(7, 8)) == (np.array([7]), np.array([7]))
        assert draw_within(rule, slice(7, 8), slice(9, 10)) == (np.array([7]), np.array([9]))


# weights and delays


def test_one_weight_and_one_delay():
    synapses = draw(evsim.fixed_indegree(5), weight=-0.3, delay=2.5)
    assert synapses.weight == pytest.approx(-0.3, rel=1e-5)
    assert synapses.delay == pytest.approx(2.5)


def test_arrays_in_the_shape_of_the_rule():
    rng = np.random.default_rng(1)
    cases = {
        "all_to_all": (evsim.all_to_all(), (30, 200), lambda s: (s.pre, s.post)),
        "without autapses": (evsim.all_to_all(allow_autapses=False), (30, 200), lambda s: (s.pre, s.post)),
        "one_to_one": (evsim.one_to_one(), (200,), lambda s: (s.pre,)),
    }
    for name, (rule, shape, place) in cases.items():
        weight, delay = rng.uniform(-1.0, 1.0, shape), rng.integers(1, 60, shape) * 0.1
        synapses = draw(rule, shape[0], shape[-1], weight, delay)
        np.testing.assert_allclose(synapses.weight, weight[place(synapses)], atol=5e-6, err_msg=name)
        np.testing.assert_allclose(synapses.delay, delay[place(synapses)], err_msg=name)


def test_arrays_of_explicit_synapses_keep_their_place():
    rng = np.random.default_rng(2)
    pre, post = rng.integers(0, 300, (2, 5000))
    weight, delay = rng.uniform(-1.0, 1.0, 5000), rng.integers(1, 60, 5000) * 0.1
    synapses = draw(evsim.explicit(pre, post), 300, 300, weight, delay, threads=2)
    order = np.lexsort((weight, post, delay, pre))
    assert synapses.pre.tolist() == pre[order].tolist()
    assert synapses.post.tolist() == post[order].tolist()
    np.testing.assert_allclose(synapses.delay, delay[order])
    np.testing.assert_allclose(synapses.weight, weight[order], atol=5e-6)


def test_what_was_given_is_copied():
    net = evsim.Network()
    population = net.add_population("p", 3, evsim.IAF())
    weight, pre = np.ones(3), np.arange(3)
    projection = net.connect(population, population, evsim.explicit(pre, pre), weight, 1.0)
    weight[:], pre[:] = np.nan, 2
    synapses = evsim.Simulation(net).synapses(projection)
    assert synapses.pre.tolist() == [0, 1, 2]
    assert synapses.weight == pytest.approx(1.0)


DISTRIBUTIONS = {
    "normal": (evsim.normal(3.0, 0.4), stats.norm(3.0, 0.4)),
    "normal, one bound": (evsim.normal(1.0, 1.0, low=0.5), stats.truncnorm(-0.5, np.inf, 1.0, 1.0)),
    "normal, two bounds": (evsim.normal(2.0, 1.0, 1.5, 4.0), stats.truncnorm(-0.5, 2.0, 2.0, 1.0)),
    "normal, far in its tail": (evsim.normal(0.0, 1.0, 2.5, 9.0), stats.truncnorm(2.5, 9.0)),
    "lognormal": (evsim.lognormal(0.5, 0.4), stats.lognorm(0.4, scale=np.exp(0.5))),
    "uniform": (evsim.uniform(0.5, 4.5), stats.uniform(0.5, 4.0)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_drawn_weights_have_the_distribution(name):
    drawn, expected = DISTRIBUTIONS[name]
    weight = draw(evsim.fixed_indegree(100), weight=drawn).weight
    assert weight.size == 50_000
    rounding = 1e-5 * weight.mean()
    assert drawn.low - rounding <= weight.min() < weight.max() <= drawn.high + rounding
    assert 1e-4 < stats.kstest(weight, expected.cdf).pvalue < 1 - 1e-4


def test_bounded_lognormal_weights():
    drawn = evsim.lognormal(0.0, 1.0, low=0.5, high=3.0)
    weight = draw(evsim.fixed_indegree(100), weight=drawn).weight
    whole = stats.lognorm(1.0)
    below, inside = whole.cdf(0.5), whole.cdf(3.0) - whole.cdf(0.5)
    assert 0.5 - 1e-5 <= weight.min() < weight.max() <= 3.0 + 3e-5
    assert stats.kstest(weight, lambda x: np.clip((whole.cdf(x) - below) / inside, 0, 1)).pvalue > 1e-4


def test_negative_drawn_weights():
    weight = draw(evsim.fixed_indegree(20), weight=evsim.normal(-3.0, 1.0, high=0.0)).weight
    assert weight.max() <= 1e-4
    assert stats.kstest(-weight, stats.truncnorm(-3.0, np.inf, 3.0, 1.0).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_drawn_delays_have_the_distribution_on_the_grid(name):
    drawn, expected = DISTRIBUTIONS[name]
    synapses = draw(evsim.fixed_indegree(100), delay=drawn)
    steps = np.rint(synapses.delay / 0.1).astype(int)
    np.testing.assert_allclose(synapses.delay, steps * 0.1)
    edges = (np.arange(steps.max() + 3) - 0.5) * 0.1
    expected_counts = np.diff(expected.cdf(np.append(edges[:-1], np.inf))) * steps.size
    counts = np.bincount(steps, minlength=expected_counts.size)
    assert counts[expected_counts == 0.0].sum() == 0
    common = expected_counts > 10.0
    rare = expected_counts[~common].sum()
    statistic = ((counts - expected_counts)[common] ** 2 / expected_counts[common]).sum()
    statistic += (counts[~common].sum() - rare) ** 2 / rare if rare > 1.0 else 0.0
    assert_plausible(statistic, common.sum() + (rare > 1.0) - 1)


def test_drawn_weights_and_delays_are_independent():
    synapses = draw(evsim.fixed_indegree(50), weight=evsim.uniform(0.0, 1.0), delay=evsim.uniform(0.1, 9.0))
    for x, y in (
        ("weight", "delay"),
        ("weight", "pre"),
        ("delay", "pre"),
        ("weight", "post"),
        ("delay", "post"),
    ):
        assert stats.spearmanr(getattr(synapses, x), getattr(synapses, y)).pvalue > 1e-3, (x, y)


def test_delays_off_the_grid_are_rounded_with_one_warning_each():
    net = evsim.Network(dt=0.1)
    a, b = (net.add_population(name, 3, evsim.IAF()) for name in "ab")
    with pytest.warns(DelayWarning) as caught:
        projections = net.connect(a, [a, b], evsim.all_to_all(), 1.0, 0.27)
    assert [str(w.message).split(";")[0] for w in caught] == [
        f"projection 'a->{name}': delay 0.27 ms is not a multiple of dt = 0.1 ms and becomes 0.3 ms" for name in "ab"
    ]
    assert {w.filename for w in caught} == {__file__}
    delay = np.array([[0.1, 0.14, 0.16], [0.31, 0.2, 0.2], [5.0, 5.01, 4.96]])
    with pytest.warns(DelayWarning, match=r"delay 0.14 ms .* becomes 0.1 ms") as caught:
        listed = net.connect(b, a, evsim.all_to_all(), 1.0, delay)
    assert len(caught) == 1
    sim = evsim.Simulation(net)
    assert sim.synapses(projections[0]).delay == pytest.approx(0.3)
    synapses = sim.synapses(listed)
    expected = [[0.1, 0.1, 0.2], [0.3, 0.2, 0.2], [5.0, 5.0, 5.0]]
    np.testing.assert_allclose(synapses.delay, np.array(expected)[synapses.pre, synapses.post])


def test_rounding_of_floats_is_not_off_the_grid():
    assert draw(evsim.one_to_one(), delay=0.1 + 0.1 + 0.1).delay == pytest.approx(0.3)  # a warning would be an error
    delays = np.arange(1, 501) * 0.1
    np.testing.assert_allclose(np.sort(draw(evsim.one_to_one(), delay=delays).delay), delays)


# the same network whoever builds it


@pytest.mark.parametrize("name", RULES)
def test_threads_do_not_change_synapses(name):
    options = {"weight": evsim.normal(1.0, 0.2), "delay": evsim.uniform(0.5, 5.0)}
    one = draw(RULES[name], **options)
    assert one.pre.size > 0
    for threads in (2, 3, 4):
        for a, b in zip(one, draw(RULES[name], threads=threads, **options), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", RULES)
def test_other_projections_do_not_change_synapses(name):
    def build(others):
        net = evsim.Network(seed=3)
        a = net.add_population("a", 500, evsim.IAF())
        projection = net.connect(a, a, RULES[name], evsim.normal(1.0, 0.2), evsim.uniform(0.5, 5.0))
        if others:
            b = net.add_population("b", 1000, evsim.IAF())
            net.connect(b, [a, b], evsim.fixed_indegree(10), 3.0, 20.0)
            net.add_poisson("noise", a, 1e5, 1.0)
        return evsim.Simulation(net).synapses(projection)

    alone, among = build(False), build(True)
    np.testing.assert_array_equal(alone.pre, among.pre)
    np.testing.assert_array_equal(alone.delay, among.delay)
    np.testing.assert_array_equal(alone.post, among.post)
    np.testing.assert_allclose(alone.weight, among.weight, atol=2e-5)  # the unit of fixed point is another


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"seed": 1 + 2**32}, {"before": 1}],
    ids=["seed", "upper half of the seed", "projection"],
)
@pytest.mark.parametrize("name", ["fixed_indegree", "fixed_outdegree", "fixed_total_number", "pairwise_bernoulli"])
def test_other_seeds_and_projections_differ(name, other):
    options = {"weight": evsim.uniform(0.0, 1.0)}
    one, two = draw(RULES[name], **options), draw(RULES[name], **options, **other)
    pairs = [np.unique(s.pre * 500 + s.post) for s in (one, two)]
    shared = np.intersect1d(*pairs).size
    expected = pairs[0].size * pairs[1].size / 500**2
    assert stats.poisson(expected).cdf(shared) > 1e-4
    assert stats.poisson(expected).sf(shared) > 1e-4
    n = min(one.weight.size, two.weight.size)
    assert stats.pearsonr(one.weight[:n], two.weight[:n]).pvalue > 1e-3


def test_rules_without_draws_do_not_depend_on_the_seed():
    for name in ("all_to_all", "one_to_one", "explicit"):
        for a, b in zip(draw(RULES[name], seed=1), draw(RULES[name], seed=2), strict=True):
            np.testing.assert_array_equal(a, b)
