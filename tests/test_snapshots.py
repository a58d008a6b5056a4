"""Weights as results: snapshots at the times asked for, in memory and in files, whatever the chunks and threads."""

import os
import signal
import subprocess
import sys
import textwrap

import h5py
import libsonata
import numpy as np
import pytest

import evsim
from evsim import simulation
from evsim.io.recording import RecordingWriter, WeightSpec, open_recording
from evsim.io.repair import pack_recording, repair_recording


def network(apply="spike", seed=1):
    net = evsim.Network(dt=1.0, seed=seed)
    inputs = net.add_poisson_source("inputs", 300, rate=50.0)
    cells = net.add_population("cells", 200, evsim.LIF(tau_mem=10.0, v_threshold=1.0, t_ref=1.0))
    net.add_poisson("noise", cells, rate=40.0, weight=1.2)
    rule = evsim.PairSTDP(a_plus=0.01, a_minus=0.008, apply=apply)
    weight, delay = evsim.uniform(0.01, 0.05), evsim.uniform(1.0, 4.0)
    plastic = net.connect(inputs, cells, evsim.fixed_indegree(20), weight=weight, delay=delay, plasticity=rule)
    other = net.connect(cells, cells, evsim.fixed_indegree(5), weight=weight, delay=delay, plasticity=rule)
    return net, plastic, other


def weights_at(times, apply="spike", between=None):
    """The weights of the first projection at these times, by runs from one to the next."""
    net, plastic, _ = network(apply)
    sim = evsim.Simulation(net, backend="cpu", threads=1)
    values = []
    for time in times:
        if time > sim.time:
            sim.run(time - sim.time)
        if between:
            between(sim, plastic)
        values.append(sim.synapses(plastic).weight)
    return np.array(values)


@pytest.mark.parametrize("to_file", [True, False], ids=["file", "memory"])
def test_snapshots_are_the_weights_at_their_times(tmp_path, to_file):
    times = [0.0, 30.0, 60.0, 90.0, 120.0]
    expected = weights_at(times)
    assert (expected[-1] != expected[0]).mean() > 0.5
    for threads, runs in ((1, (120.0,)), (2, (7.0, 53.0, 60.0))):
        net, plastic, other = network()
        sim = evsim.Simulation(net, backend="cpu", threads=threads)
        path = tmp_path / f"{threads}.h5" if to_file else None
        chosen = {plastic: None, other: [0, 5]}
        sim.record(path, spikes=net.populations["cells"], weights=chosen, weights_every=30.0)
        for duration in runs:
            sim.run(duration)
        history = sim.weight_history(plastic)
        assert history.times.tolist() == times
        np.testing.assert_array_equal(history.values, expected)
        synapses = sim.synapses(plastic)
        for name in ("pre", "post", "delay"):
            np.testing.assert_array_equal(getattr(history, name), getattr(synapses, name))
        two = sim.weight_history(other)
        assert two.values.shape == (5, 2)
        assert two.synapses.tolist() == [0, 5]
        np.testing.assert_array_equal(two.pre, sim.synapses(other).pre[[0, 5]])
        np.testing.assert_array_equal(two.values[-1], sim.synapses(other).weight[[0, 5]].astype(np.float32))
        if to_file:
            with evsim.open_recording(path) as recording:
                weights = recording.weights("inputs->cells")
                assert recording.projections == ["inputs->cells", "cells->cells"]
                assert weights.values.shape == (5, 4000)
                assert len(weights.values) == 5
                np.testing.assert_array_equal(weights.values[-1, 3], expected[-1, 3])
                np.testing.assert_array_equal(weights.values[1:4:2, 10:20], expected[1:4:2, 10:20])
                np.testing.assert_array_equal(np.asarray(weights.values), expected)
                with pytest.raises(IndexError, match="index 5"):
                    weights.values[5]
                with pytest.raises(TypeError, match="a whole number or a slice"):
                    weights.values[[0, 1]]
                assert "weights of inputs->cells: 5 snapshots" in repr(recording)
                with pytest.raises(ValueError, match=r"weights of 'x' were not recorded; recorded: inputs->cells, c"):
                    recording.weights("x")


def test_without_an_interval_the_ends_of_runs_are_taken(tmp_path):
    """Changes that act at the end of a run are in the snapshot of that time."""
    expected = weights_at([0.0, 40.0, 70.0], apply="run")
    assert (expected[1] != expected[0]).any()
    net, plastic, _ = network(apply="run")
    sim = evsim.Simulation(net, backend="cpu")
    sim.record(tmp_path / "a.h5", weights=plastic)
    for duration in (0.0, 40.0, 30.0):
        sim.run(duration)
    with evsim.open_recording(tmp_path / "a.h5") as recording:
        assert recording.weights(plastic).times.tolist() == [0.0, 40.0, 70.0]
        np.testing.assert_array_equal(recording.weights(plastic).values[:], expected)
        assert recording.duration == 70.0


def test_recording_weights_changes_nothing(monkeypatch):
    monkeypatch.setattr(simulation, "CHUNK_SECONDS", 1e-4)
    net, plastic, _ = network()
    plain = evsim.Simulation(net, backend="cpu")
    plain.run(100.0)
    recorded = evsim.Simulation(net, backend="cpu")
    recorded.record(weights=[plastic], weights_every=1.0)
    recorded.run(100.0)
    assert recorded.weight_history(plastic).times.tolist() == list(range(101))
    assert recorded.spike_checksum == plain.spike_checksum
    np.testing.assert_array_equal(recorded.synapses(plastic).weight, plain.synapses(plastic).weight)


def test_normalizing_at_an_interval():
    def by_hand(sim, projection):
        if sim.time == 0.0:
            sim.normalize(projection, 0.2)
        sim.normalize(projection, 0.7)

    expected = weights_at([0.0, 25.0, 50.0, 75.0], between=by_hand)
    for runs in ((99.0,), (10.0, 40.0, 49.0)):
        net, plastic, _ = network()
        sim = evsim.Simulation(net, backend="cpu", threads=2)
        sim.record(weights=plastic, weights_every=25.0)
        sim.normalize(plastic, 0.2, every=10.0)
        sim.normalize(plastic, 0.7, every=25.0)
        for duration in runs:
            sim.run(duration)
        np.testing.assert_array_equal(sim.weight_history(plastic).values, expected)
    sim.learning = False
    before = sim.synapses(plastic).weight
    sim.run(51.0)
    np.testing.assert_array_equal(sim.synapses(plastic).weight, before)
    sim.learning = True
    sim.run(25.0)
    np.testing.assert_allclose(sim.weights(plastic).sum(axis=0), 0.7, rtol=1e-6)
    with pytest.raises(ValueError, match=r"projection 'inputs->cells': every is 0.5 ms; times must be multiples"):
        sim.normalize(plastic, 0.7, every=0.5)
    with pytest.raises(ValueError, match=r"every is 0.0; it must be above 0 ms"):
        sim.normalize(plastic, 0.7, every=0.0)


def test_other_programs_open_a_file_with_weights(tmp_path):
    net, plastic, _ = network()
    sim = evsim.Simulation(net, backend="cpu")
    cells = net.populations["cells"]
    sim.record(tmp_path / "a.h5", spikes=cells, state={cells[:3]: "v"}, every=1.0, weights=plastic, weights_every=10.0)
    sim.run(30.0)
    packed = pack_recording(tmp_path / "a.h5", tmp_path / "packed.h5")
    with evsim.open_recording(packed) as recording:
        np.testing.assert_array_equal(recording.weights(plastic).values[:], sim.weight_history(plastic).values)
    path = str(tmp_path / "a.h5")
    ids, times = sim.spikes(cells)
    assert libsonata.SpikeReader(path)["cells"].get() == list(zip(ids.tolist(), times.tolist(), strict=True))
    assert libsonata.SomaReportReader(path).get_population_names() == ["cells"]
    assert libsonata.SomaReportReader(path)["cells"].get().data.shape == (30, 3)
    reading = pytest.importorskip("bmtk.utils.reports")
    assert list(reading.SpikeTrains.from_sonata(path).populations) == ["cells"]
    assert reading.CompartmentReport(path).data(population="cells").shape == (30, 3)


RECORD_FOREVER = """
    import sys, numpy as np
    from evsim.io.recording import RecordingWriter, WeightSpec
    n = np.arange(7)
    spec = WeightSpec("a->b", "a", "b", n, n, n + 1.0, n)
    writer = RecordingWriter(sys.argv[1], {"a": 100}, ["a"], dt=1.0, weights=[spec])
    for k in range(10**9):
        writer.write_weights("a->b", k, np.full(7, k))
        writer.write_spikes("a", np.full(100, k), np.arange(100))
        writer.commit(k + 1)
        if k % 10 == 9:
            writer.flush()
            print(k + 1, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_snapshots_survive_a_kill(tmp_path):
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", textwrap.dedent(RECORD_FOREVER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 100:
                break
        process.send_signal(signal.SIGKILL)
    for whole in (False, True):
        with open_recording(path) as recording:
            assert recording.unfinished is not whole
            n = round(recording.duration)
            assert n >= 100
            weights = recording.weights("a->b")
            assert weights.times.tolist() == list(range(n))
            np.testing.assert_array_equal(weights.values[:], np.repeat(np.arange(n)[:, None], 7, axis=1))
            assert weights.delay.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        repair_recording(path)
    with h5py.File(path) as file:
        assert file["evsim/weights/a->b/values"].shape == (n, 7)


def test_what_cannot_be_recorded_is_refused(tmp_path):
    net, plastic, other = network()
    fixed = net.connect(
        net.populations["cells"], net.populations["cells"], evsim.one_to_one(), weight=0.1, delay=1.0, name="fixed"
    )  # fmt: skip
    twin = net.connect(
        plastic.source, plastic.target, evsim.all_to_all(), weight=0.1, delay=1.0,
        plasticity=evsim.PairSTDP(), name="inputs->cells",
    )  # fmt: skip
    odd = net.connect(
        plastic.source, plastic.target, evsim.all_to_all(), weight=0.1, delay=1.0, plasticity=evsim.PairSTDP(),
        name="a/b",
    )  # fmt: skip
    sim = evsim.Simulation(net, backend="cpu")
    foreign = network()[1]
    for given, error, message in (
        ({"weights": fixed}, ValueError, "projection 'fixed' has no plasticity"),
        ({"weights": "inputs->cells"}, TypeError, "'inputs->cells' is given; it must be a projection"),
        ({"weights": foreign}, ValueError, "does not belong to this network"),
        ({"weights": {plastic: [4000]}}, ValueError, r"weights\[0\] is 4000; indices must be in \[0, 4000\)"),
        ({"weights": {plastic: []}}, (TypeError, ValueError), "no synapse is chosen; there are 4000"),
        ({"weights": [plastic, twin]}, ValueError, "two projections called 'inputs->cells'"),
        ({"weights": odd}, ValueError, "'a/b' cannot be an HDF5 name"),
        ({"weights": plastic, "weights_every": 0.25}, ValueError, "weights_every is 0.25 ms; times must be multiples"),
        ({"weights": plastic, "weights_every": -1.0}, ValueError, "weights_every is -1.0; it must be above 0 ms"),
        ({}, ValueError, "give spikes=, state= or weights="),
    ):
        with pytest.raises(error, match=message):
            sim.record(tmp_path / "a.h5", **given)
        assert not (tmp_path / "a.h5").exists()
    sim.record(weights={other: np.array([1])})
    with pytest.raises(ValueError, match="weights of 'inputs->cells' are not recorded"):
        sim.weight_history(plastic)


def test_bad_snapshots_are_refused(tmp_path):
    n = np.arange(3)
    spec = WeightSpec("q", "a", "a", n, n, n + 1.0, n)
    with RecordingWriter(tmp_path / "a.h5", {"a": 3}, weights=[spec]) as writer:
        writer.write_weights("q", 5, n)
        for given, message in (
            (("x", 6, n), "'x' are not recorded; recorded: q"),
            (("q", 6, n[:2]), r"values \(2,\); the shape must be \(3,\)"),
            (("q", 5, n), "step is 5, not after step 5"),
        ):
            with pytest.raises(ValueError, match=message):
                writer.write_weights(*given)
    with pytest.raises(ValueError, match="two recorded projections are called 'q'"):
        RecordingWriter(tmp_path / "b.h5", {"a": 3}, weights=[spec, spec])


def test_what_is_due_goes_on_after_a_checkpoint(tmp_path):
    def begin(net, plastic):
        sim = evsim.Simulation(net, backend="cpu", threads=2)
        sim.record(weights=plastic, weights_every=20.0)
        sim.normalize(plastic, 0.7, every=25.0)
        return sim

    net, plastic, _ = network()
    whole = begin(net, plastic)
    whole.run(50.0)
    whole.save(tmp_path / "half.h5")
    whole.run(75.0)
    resumed = begin(net, plastic)
    resumed.load(tmp_path / "half.h5")
    resumed.run(75.0)
    assert resumed.spike_checksum == whole.spike_checksum
    history = resumed.weight_history(plastic)
    assert history.times.tolist() == [60.0, 80.0, 100.0, 120.0]
    np.testing.assert_array_equal(history.values, whole.weight_history(plastic).values[3:])
