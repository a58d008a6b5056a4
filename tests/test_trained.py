"""Weights saved and loaded: a trained network tested in another process, bit for bit; what differs is named."""

import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

import evsim


def build(seed=5, **changes):
    net = evsim.Network(dt=1.0, seed=seed)
    given = {"n": 60, "theta_plus": 0.05, "w_max": 0.5, "name": "up", "delay": evsim.uniform(1.0, 3.0), **changes}
    inputs = net.add_poisson_source("inputs", 80, rate=60.0)
    lif = evsim.LIF(tau_mem=15.0, v_threshold=1.0, theta_plus=given["theta_plus"], tau_theta=1e5)
    cells = net.add_population("cells", given["n"], lif)
    rule = evsim.PairSTDP(a_plus=0.01, a_minus=0.005, w_max=given["w_max"])
    up = net.connect(
        inputs,
        cells,
        evsim.fixed_indegree(30),
        weight=evsim.uniform(0.05, 0.2),
        delay=given["delay"],
        plasticity=rule,
        name=given["name"],
    )
    across = net.connect(cells, cells, evsim.fixed_indegree(5), weight=0.1, delay=1.0, plasticity=rule, name="across")
    return net, up, across


def trained(path):
    net, up, across = build()
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(200.0)
    sim.save_weights(path)
    return sim, up, across


def test_another_process_tests_what_was_learned(tmp_path):
    sim, up, across = trained(tmp_path / "w.h5")
    code = """
        import sys
        sys.path.insert(0, sys.argv[3])
        from test_trained import build, evsim
        sim = evsim.Simulation(build()[0], backend="cpu", threads=2)
        sim.load_weights(sys.argv[1])
        sim.learning = False
        sim.run(100.0)
        sim.save_weights(sys.argv[2])
        print(sim.spike_checksum, sum(sim.spike_counts().values()))
    """
    paths = [str(path) for path in (tmp_path / "w.h5", tmp_path / "again.h5", Path(__file__).parent)]
    command = [sys.executable, "-c", textwrap.dedent(code), *paths]
    checksum, n_spikes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    here = evsim.Simulation(build()[0], backend="cpu", threads=1)
    here.run(0.0)
    here.load_weights(tmp_path / "w.h5")
    here.learning = False
    here.run(100.0)
    assert here.spike_checksum == checksum
    assert int(n_spikes) > 500
    untrained = evsim.Simulation(build()[0], backend="cpu")
    untrained.learning = False
    untrained.run(100.0)
    assert untrained.spike_checksum != checksum
    with h5py.File(tmp_path / "again.h5") as file:
        for projection in (up, across):
            weight = file[f"projections/{projection.name}/weight"][()]
            np.testing.assert_array_equal(weight, sim.synapses(projection).weight)
        theta = file["thresholds/cells/theta"][()]
        np.testing.assert_array_equal(theta, sim.values(sim.network.populations["cells"], "theta"))
        assert theta.max() > 0.1


def test_learning_goes_on_from_loaded_weights(tmp_path):
    """Training from a file equals training from the same weights in place, normalised ones included."""
    _, up, _ = trained(tmp_path / "w.h5")
    results = []
    for threads in (1, 2):
        net, up, _ = build()
        sim = evsim.Simulation(net, backend="cpu", threads=threads)
        sim.run(20.0)
        sim.normalize(up, 3.0)
        sim.load_weights(tmp_path / "w.h5")
        assert not np.allclose(sim.weights(up).sum(axis=0), 3.0, rtol=1e-3)
        sim.normalize(up, 3.0)
        np.testing.assert_allclose(sim.weights(up).sum(axis=0), 3.0, rtol=1e-5)
        sim.run(100.0)
        results.append((sim.spike_checksum, sim.synapses(up).weight))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_chosen_projections(tmp_path):
    sim, up, across = trained(tmp_path / "w.h5")
    sim.save_weights(tmp_path / "one.h5", across)
    net, other_up, other_across = build()
    other = evsim.Simulation(net, backend="cpu")
    before = other.synapses(other_up).weight
    other.load_weights(tmp_path / "one.h5", other_across)
    np.testing.assert_array_equal(other.synapses(other_across).weight, sim.synapses(across).weight)
    np.testing.assert_array_equal(other.synapses(other_up).weight, before)
    with pytest.raises(ValueError, match=r"one.h5: projection 'up' of the network is not in the file, .* 'across'"):
        other.load_weights(tmp_path / "one.h5")
    other.load_weights(tmp_path / "w.h5", [other_up])
    np.testing.assert_array_equal(other.synapses(other_up).weight, sim.synapses(up).weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 6}, r"projection 'up': \w+\[\d+\] is .* in the file and .* in the network; .* the same seed"),
        ({"n": 61}, r"projection 'up' has 1800 synapses in the file and 1830 in the network"),
        ({"delay": 1.0}, r"projection 'up': (post|delay)\[\d+\] is"),
        ({"w_max": 0.21}, r"projection 'up': weight\[\d+\] is .*; it must lie between w_min = 0 and w_max = 0.21"),
        ({"name": "down"}, "projection 'down' of the network is not in the file, which has 'across', 'up'"),
        ({"theta_plus": 0.0}, "adaptive thresholds of population 'cells' of the file is not in the network, which has"),
    ],
)
def test_what_differs_is_named_and_nothing_changes(tmp_path, changes, message):
    trained(tmp_path / "w.h5")
    net, up, across = build(**changes)
    sim = evsim.Simulation(net, backend="cpu")
    before = [sim.synapses(q).weight for q in (up, across)]
    with pytest.raises(ValueError, match=rf"load_weights: w\.h5: {message}"):
        sim.load_weights(tmp_path / "w.h5")
    for q, weight in zip((up, across), before, strict=True):
        np.testing.assert_array_equal(sim.synapses(q).weight, weight)


def test_bad_paths_and_files_are_refused(tmp_path):
    sim, up, _ = trained(tmp_path / "w.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sim.save_weights(tmp_path / "w.h5")
    sim.save_weights(tmp_path / "w.h5", overwrite=True)
    with pytest.raises(FileNotFoundError, match="create it first"):
        sim.save_weights(tmp_path / "no" / "w.h5")
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        sim.load_weights(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        sim.load_weights(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"not one of Simulation.save_weights"):
        sim.load_weights(tmp_path / "other.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(ValueError, match="format version 99"):
        sim.load_weights(tmp_path / "w.h5")
    with pytest.raises(TypeError, match="'up' is given; it must be a projection"):
        sim.save_weights(tmp_path / "x.h5", ["up"])
    foreign = build()[1]
    with pytest.raises(ValueError, match="'up' does not belong to this simulation or has no plasticity"):
        sim.save_weights(tmp_path / "x.h5", foreign)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.h5", "text.h5", "w.h5"]
