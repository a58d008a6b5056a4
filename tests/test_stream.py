"""The thread that writes: bounded memory, full disks, forgotten writers; nothing is lost silently."""

import contextlib
import errno
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import h5py
import libsonata
import numpy as np
import pytest

from evsim.io import output, stream
from evsim.io.recording import RecordingWriter, ReportSpec, open_recording


def test_forgotten_writer_keeps_what_was_committed(tmp_path):
    code = """
        import sys, numpy as np
        from evsim.io.recording import RecordingWriter
        writer = RecordingWriter(sys.argv[1], {"p": 4}, ["p"], dt=1.0)
        for k in range(50):
            writer.write_spikes("p", np.full(1000, k), np.zeros(1000, np.uint32))
            writer.commit(k + 1)
    """
    path = tmp_path / "a.h5"
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=True)
    with h5py.File(path) as file:
        assert len(file["spikes/p/timestamps"]) == 50_000
    with open_recording(path) as recording:
        assert not recording.complete


def test_pending_bytes_are_bounded(tmp_path, monkeypatch):
    """A disk that has stopped: commit must come to wait before much more than the bound has piled up."""
    disk = threading.Event()
    real = stream.Stream._append
    monkeypatch.setattr(stream, "PENDING_BYTES", 100_000)
    monkeypatch.setattr(stream.Stream, "_append", lambda self, batches: (disk.wait(), real(self, batches)))
    handed = []

    def simulate():
        for k in range(100):
            writer.write_spikes("p", np.full(1000, k), np.zeros(1000, np.uint32))  # 16 kB
            writer.commit(k + 1)
            handed.append(k)

    with RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0) as writer:
        simulation = threading.Thread(target=simulate, daemon=True)
        simulation.start()
        simulation.join(0.3)
        handed_meanwhile = len(handed)
        disk.set()
        simulation.join()
        assert handed_meanwhile <= 100_000 // 16_000
        assert writer._stream.peak_bytes <= 100_000
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.n_spikes("p") == 100_000


def test_a_batch_above_the_bound_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PENDING_BYTES", 1000)
    with RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0) as writer:
        for k in range(3):
            writer.write_spikes("p", np.full(1000, k), np.zeros(1000, np.uint32))
            writer.commit()
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.n_spikes("p") == 3000


def test_disk_without_room_is_refused_before_the_run(tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"disk full: .* bytes needed, 1,000 free") as caught:
        RecordingWriter(tmp_path / "a.h5", {"p": 1}, ["p"])
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def fill_until_error(writer):
    """Commit batches of 5000 spikes until the disk is full; returns the error and how many were flushed."""
    for k in range(10_000):
        try:
            writer.write_spikes("p", np.full(5000, k), np.zeros(5000, np.uint32))
            writer.commit(k + 1)
            writer.flush()
        except OSError as error:
            return error, k
    raise AssertionError("the disk never filled up")


def test_disk_that_fills_up_stops_cleanly(tmp_path, monkeypatch):
    free = iter([10**9] * 4 + [100] * 10)
    usage = type("usage", (), {})
    writer = RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0)
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: setattr(usage, "free", next(free)) or usage)
    error, flushed = fill_until_error(writer)
    assert flushed == 4
    assert "disk full" in str(error)
    assert "up to 4 ms is kept" in str(error)
    with pytest.raises(OSError, match="disk full"):  # again, lest anything be lost unnoticed
        writer.write_spikes("p", np.array([9]), np.array([0]))
    writer.close()
    assert libsonata.SpikeReader(tmp_path / "a.h5").get_population_names() == ["p"]
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.n_spikes("p") == 20_000
        assert not recording.complete
        assert not recording.unfinished


def test_error_of_the_last_batch_is_raised_by_close(tmp_path, monkeypatch):
    writer = RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0)
    usage = type("usage", (), {"free": 100})
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: usage)
    writer.write_spikes("p", np.array([9]), np.array([0]))
    with pytest.raises(OSError, match="disk full"):
        writer.close()
    writer.close()


def record_and_fail(path):
    with RecordingWriter(path, {"p": 4}, ["p"]) as writer:
        writer.write_spikes("p", np.array([0.9]), np.array([0]))
        writer.commit(10)
        writer.write_spikes("p", np.array([1.1]), np.array([0]))
        raise RuntimeError("mine")


def test_error_in_a_with_block_is_not_hidden(tmp_path):
    with pytest.raises(RuntimeError, match="mine"):
        record_and_fail(tmp_path / "a.h5")
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.spikes("p")[1].tolist() == [0.9]  # the batch that was cut short is none
        assert not recording.complete


def test_a_file_that_cannot_be_flushed_stays_as_it_last_was(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "disk gone")

    writer = RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], dt=1.0)
    for k in range(4):
        if k == 3:
            monkeypatch.setattr(h5py.File, "flush", fail)
        writer.write_spikes("p", np.full(1000, k), np.zeros(1000, np.uint32))
        writer.commit(k + 1)
        with contextlib.nullcontext() if k < 3 else pytest.raises(OSError, match="disk gone"):
            writer.flush()
    writer.close()
    monkeypatch.undo()
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.unfinished
        np.testing.assert_array_equal(recording.spikes("p")[1], np.repeat(np.arange(3), 1000))


def test_a_batch_that_fails_half_way_is_taken_back(tmp_path, monkeypatch):
    """The spikes of the failed batch are in the file by then, its frames are not."""
    report = ReportSpec("v", "p", "v", np.array([0]), "mV", 1.0)
    writer = RecordingWriter(tmp_path / "a.h5", {"p": 4}, ["p"], [report], dt=1.0)
    real = stream.Stream._append_frames
    monkeypatch.setattr(stream.Stream, "_append_frames", lambda *given: (real(*given), writer.fail())[0])
    writer.fail = lambda: None
    for k in range(2):
        writer.write_spikes("p", np.full(10, k), np.zeros(10, np.uint32))
        writer.write_frames("v", np.zeros((1, 1)))
        writer.commit(k + 1)
        if k == 0:
            writer.flush()
            writer.fail = lambda: 1 / 0
    with pytest.raises(OSError, match="division by zero; it is kept up to 1 ms"):
        writer.flush()
    writer.close()
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file["spikes/p/timestamps"]) == len(file["spikes/p/node_ids"]) == 10
        assert len(file["report/p/data"]) == len(file["evsim/batches"]) == 1
        assert file["report/p/mapping/time"][:].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])
def test_full_disk(tmp_path, checked):
    """A file system of 8 MB. Unchecked, as under a quota, HDF5 meets the error: no crash, even at exit."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    code = """
        import sys
        sys.path.insert(0, sys.argv[3])
        from evsim.io import stream
        from test_stream import RecordingWriter, fill_until_error
        if sys.argv[2] == "False":
            stream.require_free = lambda *given: None
        writer = RecordingWriter(sys.argv[1], {"p": 4}, ["p"], dt=1.0)
        error, flushed = fill_until_error(writer)
        writer.close()
        print(error.errno, flushed)
    """
    try:
        here = str(Path(__file__).parent)
        arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a.h5"), str(checked), here]
        result = subprocess.run(arguments, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        number, flushed = (int(word) for word in result.stdout.split())
        assert number == errno.ENOSPC
        assert flushed > 10
        with open_recording(tmp_path / "a.h5") as recording:
            ids, times = recording.spikes("p")
            assert len(ids) >= 5000 * flushed
            np.testing.assert_array_equal(times, np.repeat(np.arange(len(ids) // 5000), 5000))
            assert not recording.unfinished
        with h5py.File(tmp_path / "a.h5") as file:  # other readers see no more
            assert len(file["spikes/p/timestamps"]) == len(file["spikes/p/node_ids"]) == len(ids)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
