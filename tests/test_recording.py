"""Recordings: what is written comes back, through evsim's reader and through other people's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import libsonata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim.io import output
from evsim.io.recording import RecordingWriter, ReportSpec, open_recording, step_times

POPULATIONS = {"exc": 8, "inh": 3}
TIMES = np.array([0.0, 0.3, 0.3, 0.7, 1.2])
IDS = np.array([5, 0, 7, 5, 2], np.uint32)


def reports():
    return [
        ReportSpec("i", "exc", "i_exc", np.array([1, 4]), "pA", every_ms=0.5),
        ReportSpec("v", "exc", "v", np.array([4, 1, 6]), "mV", every_ms=0.3, start_ms=0.1),
        ReportSpec("w", "inh", "w", np.array([0]), "nS", every_ms=0.1),
    ]


def write_small(path):
    """Spikes of both populations and three reports, in two batches of 10 steps."""
    rng = np.random.default_rng(1)
    frames = {"i": rng.random((4, 2)), "v": rng.random((7, 3)), "w": rng.random((20, 1))}
    frames = {name: values.astype(np.float32) for name, values in frames.items()}
    with RecordingWriter(path, POPULATIONS, ["exc", "inh"], reports(), 0.1, {"seed": np.int64(7)}) as writer:
        writer.write_spikes("exc", TIMES[:4], IDS[:4])
        writer.write_frames("v", frames["v"][:3])
        writer.commit(10)
        writer.write_spikes("exc", TIMES[4:], IDS[4:])
        writer.write_spikes("inh", TIMES, IDS % 3)
        writer.write_frames("v", frames["v"][3:])
        writer.write_frames("i", frames["i"])
        writer.write_frames("w", frames["w"])
        writer.commit(20)
        writer.close({"wall_time": 1.5})
    return frames


def test_spikes_and_states_come_back(tmp_path):
    frames = write_small(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        ids, times = recording.spikes("exc")
        np.testing.assert_array_equal(ids, IDS)
        np.testing.assert_array_equal(times, TIMES)
        assert ids.dtype == np.int64
        for name, population, variable in (("v", "exc", "v"), ("i", "exc", "i_exc"), ("w", "inh", "w")):
            np.testing.assert_array_equal(recording.state(population, variable).values, frames[name])
        state = recording.state("exc")
        assert state.times.tolist() == [0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9]
        assert (state.ids.tolist(), state.units, state.every) == ([4, 1, 6], "mV", 0.3)
        assert recording.duration == 2.0
        assert recording.populations == POPULATIONS
        assert recording.complete
        assert not recording.writing
        assert recording.metadata["seed"] == 7
        assert recording.metadata["final"] == {"wall_time": 1.5}
        assert "exc: 8 neurons, 5 spikes" in repr(recording)


def test_windows_are_half_open(tmp_path):
    write_small(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.spikes("exc", start=0.3, stop=1.2)[1].tolist() == [0.3, 0.3, 0.7]
        assert recording.spikes("exc", start=5.0, stop=1.0)[1].tolist() == []
        assert recording.state("exc", "v", start=0.4, stop=1.0).times.tolist() == [0.4, 0.7]
        assert recording.state("exc", "v", start=0.45).times.tolist() == [0.7, 1.0, 1.3, 1.6, 1.9]


def test_libsonata_reads_it(tmp_path):
    frames = write_small(tmp_path / "a.h5")
    spikes = libsonata.SpikeReader(tmp_path / "a.h5")
    assert spikes.get_population_names() == ["exc", "inh"]
    assert spikes["exc"].sorting == "by_time"
    assert spikes["exc"].get() == list(zip(IDS.tolist(), [0.0, 0.3, 0.3, 0.7, 1.2], strict=True))
    assert spikes["exc"].get(tstart=0.3, tstop=0.8) == [(0, 0.3), (7, 0.3), (5, 0.7)]
    for reader in (libsonata.SomaReportReader, libsonata.ElementReportReader):
        opened = reader(tmp_path / "a.h5")
        assert opened.get_population_names() == ["exc", "exc.i_exc", "inh"]
        for group, name in (("exc", "v"), ("exc.i_exc", "i"), ("inh", "w")):
            np.testing.assert_array_equal(opened[group].get().data, frames[name])
        assert opened["exc"].data_units == "mV"
        assert opened["exc"].time_units == "ms"
        np.testing.assert_allclose(opened["exc"].get().times, [0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9])
    assert libsonata.SomaReportReader(tmp_path / "a.h5")["exc"].get_node_ids() == [4, 1, 6]


def test_bmtk_reads_it(tmp_path):
    reading = pytest.importorskip("bmtk.utils.reports")
    frames = write_small(tmp_path / "a.h5")
    trains = reading.SpikeTrains.from_sonata(str(tmp_path / "a.h5"))
    assert sorted(trains.populations) == ["exc", "inh"]
    assert list(trains.get_times(5, population="exc")) == [0.0, 0.7]
    report = reading.CompartmentReport(str(tmp_path / "a.h5"))
    for group, name in (("exc", "v"), ("exc.i_exc", "i"), ("inh", "w")):
        np.testing.assert_array_equal(report.data(population=group), frames[name])
    np.testing.assert_array_equal(report.data(node_id=6, population="exc").ravel(), frames["v"][:, 2])
    assert report.units("exc") == "mV"


def test_neo_block_has_every_neuron_and_state(tmp_path):
    pytest.importorskip("neo")
    frames = write_small(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        block = recording.to_neo()
    segment = block.segments[0]
    assert len(segment.spiketrains) == 11
    train = segment.spiketrains[5]
    assert (train.annotations["population"], train.annotations["neuron"]) == ("exc", 5)
    np.testing.assert_array_equal(train.rescale("ms").magnitude, [0.0, 0.7])
    assert float(train.t_stop.rescale("ms")) == 2.0
    signals = {signal.name: signal for signal in segment.analogsignals}
    assert sorted(signals) == ["exc.i_exc", "exc.v", "inh.w"]
    np.testing.assert_array_equal(signals["exc.v"].magnitude, frames["v"])
    assert str(signals["exc.v"].units.dimensionality) == "mV"
    np.testing.assert_allclose(signals["exc.v"].times.rescale("ms").magnitude[:2], [0.1, 0.4])
    assert [len(group.spiketrains) for group in block.groups] == [8, 3]
    assert block.annotations["metadata"]["seed"] == 7


def test_dataframe(tmp_path):
    pytest.importorskip("pandas")
    write_small(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        table = recording.to_dataframe()
        assert recording.to_dataframe("inh")["neuron"].tolist() == (IDS % 3).tolist()
    assert list(table.columns) == ["population", "neuron", "time"]
    assert table["population"].tolist() == ["exc"] * 5 + ["inh"] * 5
    assert table["time"].tolist()[:5] == [0.0, 0.3, 0.3, 0.7, 1.2]


@pytest.mark.parametrize(("call", "module", "extra"), [("to_neo", "neo", "neo"), ("to_dataframe", "pandas", "pandas")])
def test_missing_extra_is_named(tmp_path, monkeypatch, call, module, extra):
    write_small(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, module, None)
    with (
        open_recording(tmp_path / "a.h5") as recording,
        pytest.raises(ImportError, match=rf"evsim\[{extra}\]"),
    ):
        getattr(recording, call)()


batches = st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=40), min_size=0, max_size=6)


@settings(max_examples=40, deadline=None)
@given(batches=batches, frames=st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_any_batches_come_back(batches, frames):
    values = np.random.default_rng(0).random((sum(frames), 2)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        all_steps, all_ids, step, row = [], [], 0, 0
        with RecordingWriter(
            path, {"p": 7}, ["p"], [ReportSpec("v", "p", "v", np.array([3, 0]), "mV", 0.5)], 0.5
        ) as writer:
            for gaps, n_frames in zip(batches, frames, strict=False):
                steps = step + np.cumsum([gap for gap, _ in gaps], dtype=np.int64)
                step = int(steps[-1]) if len(steps) else step
                ids = np.array([i for _, i in gaps], np.uint32)
                writer.write_spikes("p", steps * 0.5, ids)
                writer.write_frames("v", values[row : row + n_frames])
                row += n_frames
                writer.commit()
                all_steps += steps.tolist()
                all_ids += ids.tolist()
        with open_recording(path) as recording:
            ids, times = recording.spikes("p")
            assert ids.tolist() == all_ids
            assert times.tolist() == [s * 0.5 for s in all_steps]
            np.testing.assert_array_equal(recording.state("p").values, values[:row])
        with h5py.File(path) as file:
            assert int((np.diff(file["report/p/mapping/time"][:2]) / 0.5)[0]) == row


def test_grid_times_are_the_nearest_doubles():
    steps = np.array([1, 3, 7, 1234567, 10**9])
    assert step_times(steps, 0.1).tolist() == [0.1, 0.3, 0.7, 123456.7, 1e8]
    assert step_times(steps[:3], 0.25).tolist() == [0.25, 0.75, 1.75]
    assert step_times(steps[:3], 0.3).tolist() == [0.3, 0.9, 2.1]
    assert step_times(steps[:3], 1 / 3).tolist() == [1 / 3, 1.0, 7 / 3]
    assert step_times(steps[:3], 2.0).tolist() == [2.0, 6.0, 14.0]


def test_growing_recording_is_readable_meanwhile(tmp_path):
    path = tmp_path / "a.h5"
    with RecordingWriter(path, {"p": 4}, ["p"], dt=1.0) as writer, open_recording(path) as recording:
        assert recording.spikes("p")[0].tolist() == []
        for k in range(3):
            writer.write_spikes("p", np.array([k]), np.array([k]))
            writer.commit(k + 1)
            writer.flush()
            assert recording.spikes("p")[1].tolist() == list(range(k + 1))
            assert recording.duration == k + 1
        assert recording.writing
        assert not recording.complete


def test_another_process_reads_a_growing_recording(tmp_path):
    read = "import sys; from evsim.io.recording import open_recording as o; r = o(sys.argv[1]); "
    read += "print(r.writing, r.duration)"
    with RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0) as writer:
        writer.commit(5)
        writer.flush()
        result = subprocess.run(
            [sys.executable, "-c", read, str(tmp_path / "a.h5")], capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == ["True", "5.0"]


def test_output_is_refused_before_the_run(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        RecordingWriter(path, {"p": 1}, ["p"])
    assert path.read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="create it first"):
        RecordingWriter(tmp_path / "no" / "a.h5", {"p": 1}, ["p"])
    with pytest.raises(NotADirectoryError, match="is a file"):
        RecordingWriter(path / "a.h5", {"p": 1}, ["p"])
    with pytest.raises(IsADirectoryError, match="name of a file"):
        RecordingWriter(tmp_path, {"p": 1}, ["p"])
    RecordingWriter(path, {"p": 1}, ["p"], overwrite=True).close()
    with open_recording(path) as recording:
        assert recording.complete


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_refused(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="not writable"):
        RecordingWriter(folder / "a.h5", {"p": 1}, ["p"])


def test_unwritable_is_refused_where_the_system_says_so(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_text("mine")
    monkeypatch.setattr(output.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="folder is not writable"):
        RecordingWriter(tmp_path / "b.h5", {"p": 1}, ["p"])
    with pytest.raises(PermissionError, match="exists and is not writable"):
        RecordingWriter(tmp_path / "a.h5", {"p": 1}, ["p"], overwrite=True)


def test_a_file_being_written_is_not_overwritten(tmp_path):
    with RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0) as writer:
        writer.write_spikes("p", np.array([3]), np.array([1]))
        writer.commit()
        with pytest.raises(PermissionError, match="being written"):
            RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], overwrite=True)
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.n_spikes("p") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": 0.0}, "dt is 0.0"),
        ({"populations": {"a/b": 1}}, "population name 'a/b'"),
        ({"populations": {"exc": 0}, "spikes": [], "reports": []}, "'exc' has 0 neurons"),
        ({"spikes": ["ex"]}, "unknown population 'ex'; known: exc, inh"),
        ({"spikes": ["exc", "exc"]}, "twice"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([8]), "mV", 1.0)]}, r"node id 8 .* \(0 to 7\)"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([1, 1]), "mV", 1.0)]}, "twice"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([0.5]), "mV", 1.0)]}, "float64"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([1]), "mV", 0.25)]}, "multiple of dt"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([1]), "mV", np.nan)]}, "every_ms is nan"),
        ({"reports": [ReportSpec("v", "exc", "v", np.array([1]), "mV", 1.0, -0.1)]}, "start_ms is -0.1"),
        ({"reports": [ReportSpec(n, "exc", "v", np.array([1]), "mV", 1.0) for n in "ab"]}, "share the pop"),
    ],
)  # fmt: skip
def test_what_the_file_cannot_hold_is_refused(tmp_path, change, message):
    arguments = {"populations": POPULATIONS, "spikes": ["exc"], "reports": reports(), "dt": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        RecordingWriter(tmp_path / "a.h5", **arguments)
    assert not (tmp_path / "a.h5").exists()


def test_report_names_cannot_collide(tmp_path):
    specs = [ReportSpec(f"{p}{v}", p, v, np.array([0]), "mV", 1.0) for p, v in (("a", "v"), ("a", "u"), ("a.u", "v"))]
    with pytest.raises(ValueError, match=r"report/a\.u"):
        RecordingWriter(tmp_path / "a.h5", {"a": 1, "a.u": 1}, [], specs)


def test_metadata_that_is_not_json_is_named(tmp_path):
    with pytest.raises(TypeError, match="object"):
        RecordingWriter(tmp_path / "a.h5", {"p": 1}, ["p"], metadata={"x": object()})
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("population", "times", "ids", "message"),
    [
        ("inh", [1.0], [0], "population 'inh' is not recorded; recorded: exc"),
        ("exc", [1.0, 2.0], [0, 8], r"'exc': ids\[1\] is 8; ids must be 0 to 7"),
        ("exc", [1.0, 2.0], [-1, 0], r"ids\[0\] is -1"),
        ("exc", [0.7, 0.6], [0, 0], r"'exc': times\[1\] is 0.6 ms after 0.7"),
        ("exc", [0.7, 0.8, np.nan, 0.9], [0, 0, 0, 0], r"times\[2\] is nan ms"),
        ("exc", [0.7, np.inf], [0, 0], r"times\[1\] is inf ms"),
        ("exc", [0.4], [0], r"times\[0\] is 0.4 ms, before .* 0.5 ms"),
        ("exc", [-0.1], [0], r"times\[0\] is -0.1 ms"),
        ("exc", [np.nan], [0], r"times\[0\] is nan ms"),
        ("exc", [0.6], [0, 1], "of one length"),
        ("exc", [0.6], [0.5], "float64"),
    ],
)
def test_bad_spikes_are_refused(tmp_path, population, times, ids, message):
    with RecordingWriter(tmp_path / "a.h5", POPULATIONS, ["exc"], dt=0.1) as writer:
        writer.write_spikes("exc", np.array([0.5]), np.array([0]))
        with pytest.raises(ValueError, match=message):
            writer.write_spikes(population, np.array(times), np.array(ids))
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.n_spikes("exc") == 1


def test_bad_frames_are_refused(tmp_path):
    with RecordingWriter(tmp_path / "a.h5", POPULATIONS, [], reports(), 0.1) as writer:
        with pytest.raises(ValueError, match="unknown report 'x'; known: i, v, w"):
            writer.write_frames("x", np.zeros((1, 1)))
        with pytest.raises(ValueError, match=r"'v' of population 'exc': frames \(2, 2\); .* \(n_frames, 3\)"):
            writer.write_frames("v", np.zeros((2, 2)))
        writer.write_frames("v", np.zeros((4, 3)))
        with pytest.raises(ValueError, match="v of neuron 1 of population 'exc' is nan in frame 5"):
            writer.write_frames("v", np.array([[0, 0, 0], [0, np.nan, 0]]))
        writer.close()
        with pytest.raises(ValueError, match="is closed"):
            writer.commit()


def test_unknown_names_list_the_known(tmp_path):
    write_small(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        with pytest.raises(ValueError, match="unknown population 'x'; known: exc, inh"):
            recording.spikes("x")
        known = "recorded: i_exc of exc, v of exc, w of inh"
        with pytest.raises(ValueError, match=f"'v' of 'inh' was not recorded; {known}"):
            recording.state("inh")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_recording(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        open_recording(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="not a recording of evsim"):
        open_recording(tmp_path / "other.h5")
    write_small(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["evsim"].attrs["format_version"] = 99
    with pytest.raises(ValueError, match=r"format version 99.*upgrade evsim"):
        open_recording(tmp_path / "a.h5")
