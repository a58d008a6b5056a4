"""Recordings whose simulation was killed: every flushed batch is there, and repair makes the file whole."""

import os
import signal
import subprocess
import sys
import textwrap

import h5py
import libsonata
import numpy as np
import pytest

from evsim.io import repair
from evsim.io.recording import RecordingWriter, ReportSpec, open_recording
from evsim.io.repair import pack_recording, repair_recording

RECORD_FOREVER = """
    import sys, numpy as np
    from evsim.io.recording import RecordingWriter, ReportSpec
    report = ReportSpec("v", "a", "v", np.arange(5), "mV", 1.0)
    sizes = {"a": 100, "b": 50}
    writer = RecordingWriter(sys.argv[1], sizes, ["a", "b"], [report], dt=1.0, metadata={"seed": 5})
    for k in range(10**9):
        writer.write_spikes("a", np.full(100, k), np.arange(100))
        writer.write_spikes("b", np.full(50, k), np.arange(50))
        writer.write_frames("v", np.full((1, 5), k))
        writer.commit(k + 1)
        if k % 10 == 9:
            writer.flush()
            print(k + 1, flush=True)
"""


@pytest.fixture
def killed(tmp_path):
    """A recording killed (-9) in the middle of writing, and the number of batches known to be flushed."""
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", textwrap.dedent(RECORD_FOREVER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            flushed = int(line)
            if flushed >= 200:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
    return path, int(rest[-1]) if rest else flushed


def assert_whole_batches(recording, flushed):
    n = round(recording.duration)
    assert n >= flushed
    for population, size in (("a", 100), ("b", 50)):
        ids, times = recording.spikes(population)
        np.testing.assert_array_equal(times, np.repeat(np.arange(n), size))
        np.testing.assert_array_equal(ids, np.tile(np.arange(size), n))
    values = recording.state("a").values
    np.testing.assert_array_equal(values, np.repeat(np.arange(n)[:, None], 5, axis=1))
    return n


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_recording_is_readable_and_repairable(killed):
    path, flushed = killed
    with pytest.raises(OSError, match="open"):
        h5py.File(path, "r")
    with open_recording(path) as recording:
        assert recording.unfinished
        assert not recording.writing
        n = assert_whole_batches(recording, flushed)

    report = repair_recording(path)
    assert report.repaired
    assert report.duration == n
    assert report.spikes == {"a": 100 * n, "b": 50 * n}
    assert "repaired" in str(report)
    assert os.listdir(path.parent) == [path.name]

    with h5py.File(path) as file:
        assert len(file["spikes/a/timestamps"]) == len(file["spikes/a/node_ids"]) == 100 * n
        assert file["report/a/data"].shape == (n, 5)
    assert len(libsonata.SpikeReader(path)["b"].get()) == 50 * n
    assert libsonata.SomaReportReader(path)["a"].get().data.shape == (n, 5)
    with open_recording(path) as recording:
        assert_whole_batches(recording, flushed)
        assert recording.metadata["seed"] == 5
        assert not recording.complete
        assert not recording.unfinished
    assert not repair_recording(path).repaired


def small(path, batches=4):
    report = ReportSpec("v", "p", "v", np.array([1, 0]), "mV", 1.0)
    with RecordingWriter(path, {"p": 9}, ["p"], [report], dt=1.0, metadata={"seed": 5}) as writer:
        for k in range(batches):
            writer.write_spikes("p", np.full(1000, k), np.arange(1000) % 9)
            writer.write_frames("v", np.full((1, 2), k))
            writer.commit(k + 1)
            writer.flush()
        writer.close({"wall_time": 2.0})


def test_a_batch_cut_short_is_left_out(tmp_path):
    """Lengths may differ after a kill: the batches that all datasets hold are the recording."""
    path = tmp_path / "a.h5"
    small(path)
    with h5py.File(path, "a") as file:
        file["spikes/p/node_ids"].resize(3500, axis=0)
    with open_recording(path) as recording:
        assert recording.duration == 3.0
        assert recording.spikes("p")[1].max() == 2.0
        assert len(recording.state("p").values) == 3
    report = repair_recording(path)
    assert report.repaired
    assert report.dropped == {"spikes/p/timestamps": 1000, "spikes/p/node_ids": 500, "report/p/data": 1}
    with h5py.File(path) as file:
        assert len(file["spikes/p/timestamps"]) == len(file["spikes/p/node_ids"]) == 3000
        assert len(file["evsim/batches"]) == 3
        assert file["report/p/mapping/time"][:].tolist() == [0.0, 3.0, 1.0]
    assert libsonata.SomaReportReader(path)["p"].times == (0.0, 3.0, 1.0)


def test_whole_recording_is_left_alone(tmp_path):
    path = tmp_path / "a.h5"
    small(path)
    before = path.stat()
    report = repair_recording(path)
    assert not report.repaired
    assert "nothing to repair" in str(report)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_recording_of_nothing_is_repaired(tmp_path):
    small(tmp_path / "a.h5", batches=0)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["spikes/p/timestamps"].resize(7, axis=0)
    assert repair_recording(tmp_path / "a.h5").spikes == {"p": 0}


def test_other_files_are_refused_untouched(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not a recording of evsim"):
        repair_recording(path)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        repair_recording(tmp_path / "none.h5")


def test_recording_being_written_is_refused(tmp_path):
    with RecordingWriter(tmp_path / "a.h5", {"p": 9}, ["p"]) as writer:
        writer.commit(1)
        with pytest.raises(PermissionError, match="still being written"):
            repair_recording(tmp_path / "a.h5")


def test_interrupted_repair_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    small(path)
    with h5py.File(path, "a") as file:
        file["spikes/p/node_ids"].resize(3500, axis=0)
    before = path.read_bytes()

    def fail(*given):
        raise OSError("disk gone")

    monkeypatch.setattr(repair, "_copy_dataset", fail)
    with pytest.raises(OSError, match="disk gone"):
        repair_recording(path)
    assert os.listdir(tmp_path) == ["a.h5"]
    assert path.read_bytes() == before


def test_copying_in_many_blocks_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(repair, "BLOCK_BYTES", 1)
    rng = np.random.default_rng(0)
    steps, ids = np.sort(rng.integers(0, 5000, 150_000)), rng.integers(0, 9, 150_000)
    with RecordingWriter(tmp_path / "a.h5", {"p": 9}, ["p"], dt=0.1) as writer:
        writer.write_spikes("p", steps / 10, ids)
    pack_recording(tmp_path / "a.h5", tmp_path / "b.h5")
    with open_recording(tmp_path / "b.h5") as recording:
        np.testing.assert_array_equal(recording.spikes("p")[0], ids)
        np.testing.assert_array_equal(recording.spikes("p")[1], steps / 10)


def test_packed_recording_is_the_same_and_smaller(tmp_path):
    small(tmp_path / "a.h5")
    assert pack_recording(tmp_path / "a.h5", tmp_path / "b.h5") == tmp_path / "b.h5"
    assert (tmp_path / "b.h5").stat().st_size < (tmp_path / "a.h5").stat().st_size / 3
    with open_recording(tmp_path / "a.h5") as plain, open_recording(tmp_path / "b.h5") as packed:
        for x, y in zip(plain.spikes("p"), packed.spikes("p"), strict=True):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(plain.state("p").values, packed.state("p").values)
        assert plain.metadata == packed.metadata
        assert plain.duration == packed.duration
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["spikes/p/timestamps"].compression == "gzip"
        assert h5py.check_enum_dtype(file["spikes/p"].attrs.get_id("sorting").dtype)["by_time"] == 2
        assert file["report/p/mapping/index_pointer"] == file["report/p/mapping/index_pointers"]


def test_pack_refuses_what_would_destroy(tmp_path):
    small(tmp_path / "a.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        pack_recording(tmp_path / "a.h5", tmp_path / "a.h5")
    with pytest.raises(ValueError, match="into itself"):
        pack_recording(tmp_path / "a.h5", tmp_path / "a.h5", overwrite=True)
