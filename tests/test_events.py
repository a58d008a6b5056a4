"""Event streams: files in the Heidelberg layout, read back and binned into steps."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.batch_input import EventInput
from evsim.io.events import EventStream, read_event_stream, write_event_stream

TIMES = [np.array([0.0, 0.25, 0.3]), np.zeros(0), np.array([0.95, 0.1])]
UNITS = [np.array([1, 0, 3]), np.zeros(0, int), np.array([2, 2])]
LABELS = [7, 0, 19]


def write_shd(path, times=TIMES, units=UNITS, labels=LABELS):
    """As the files of SHD are: float16, uint16."""
    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            data = file.create_dataset(f"spikes/{name}", len(rows), h5py.vlen_dtype(kind))
            for i, row in enumerate(rows):
                data[i] = row.astype(kind)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/speaker"] = np.zeros(len(labels))


@given(
    st.lists(st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 2**32 - 1)), max_size=5), min_size=1, max_size=4)
)
def test_what_was_written_is_read(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("events") / "events.h5"
    times = [np.array([t for t, _ in events]) for events in samples]
    units = [np.array([u for _, u in events], np.uint32) for events in samples]
    labels = np.arange(len(samples)) * 3
    assert write_event_stream(path, times, units, labels) == path
    with read_event_stream(path) as stream:
        assert len(stream) == len(samples)
        np.testing.assert_array_equal(stream.labels, labels)
        for i in range(len(samples)):
            np.testing.assert_array_equal(stream.times[i], times[i])
            np.testing.assert_array_equal(stream.units[i], units[i])


def test_a_file_as_shd_has_them(tmp_path):
    write_shd(tmp_path / "shd.h5")
    with read_event_stream(str(tmp_path / "shd.h5")) as stream:
        assert stream.labels.tolist() == LABELS
        assert stream.labels.dtype == np.int64
        binned = stream.bin([2, 0], 10, n_units=4, dt=0.1)
        expected = np.zeros((10, 2, 4))
        for step, sample, unit in ((9, 0, 2), (0, 0, 2), (0, 1, 1), (2, 1, 0), (3, 1, 3)):  # 0.09998 for 0.1
            expected[step, sample, unit] = 1
        np.testing.assert_array_equal(binned.dense(), expected)
        np.testing.assert_array_equal(stream.bin([2, 0], 10, n_units=4, duration=1.0).dense(), expected)


def test_samples_without_events_and_events_of_one_bin():
    stream = EventStream(
        [np.zeros(0), np.array([0.5, 0.51, 0.9])], [np.zeros(0, int), np.array([1, 1, 0])], np.arange(2)
    )
    assert stream.bin([0], 3, n_units=2, duration=1.0).n_spikes == 0
    assert stream.bin([1, 0], 2, n_units=2, duration=1.0).dense().tolist() == [[[0, 0], [0, 0]], [[1, 2], [0, 0]]]


def test_events_are_binned_on_the_edges_as_written():
    times = np.arange(1000) * 0.001
    events = EventInput.from_events([times], [np.zeros(1000, int)], 1000, 1, 0.001)
    np.testing.assert_array_equal(events.dense().ravel(), 1)


def test_events_of_a_camera_keep_their_shape():
    events = EventInput.from_events([[2.0, 0.0]], [[7, 0]], 3, (2, 2, 2), 1.0)
    assert events.shape == (3, 1, 2, 2, 2)
    assert np.argwhere(events.dense()).tolist() == [[0, 0, 0, 0, 0], [2, 0, 1, 1, 1]]


def test_late_events_are_refused_or_cropped():
    stream = EventStream(TIMES, UNITS, np.array(LABELS), "shd.h5")
    with pytest.raises(
        ValueError, match=r"shd.h5, sample 2: times\[0\] is 0.95; times must be in \[0, 0.9\), or be cr"
    ):
        stream.bin([0, 2], 9, n_units=4, dt=0.1)
    assert stream.bin([0, 2], 9, n_units=4, dt=0.1, crop=True).n_spikes == 4


@pytest.mark.parametrize(
    ("time", "unit", "words"),
    [
        (np.nan, 0, r"shd.h5, sample 0: times\[1\] is nan; times must be in \[0, 1\)"),
        (-0.1, 0, r"times\[1\] is -0.1"),
        (np.inf, 0, r"times\[1\] is inf"),
        (0.5, 4, r"shd.h5, sample 0: units\[1\] is 4; indices must be in \[0, 4\)"),
    ],
)
def test_damaged_events_are_named(time, unit, words):
    stream = EventStream([np.array([0.0, time])], [np.array([0, unit])], np.zeros(1, int), "shd.h5")
    with pytest.raises(ValueError, match=words):
        stream.bin([0], 10, n_units=4, duration=1.0)
    if not 0 <= time < np.inf:
        with pytest.raises(ValueError, match=r"times\[1\] is .*; times must be finite and at least 0"):
            stream.bin([0], 10, n_units=4, duration=1.0, crop=True)


def test_wrong_questions_are_refused():
    stream = EventStream(TIMES, UNITS, np.array(LABELS), "shd.h5")
    for sample in (3, -1):
        with pytest.raises(IndexError, match=rf"shd.h5: there is no sample {sample}; samples must be in \[0, 3\)"):
            stream.bin([0, sample], 10, n_units=4, dt=0.1)
    for options in ({}, {"dt": 0.1, "duration": 1.0}):
        with pytest.raises(ValueError, match="give one of them, in s"):
            stream.bin([0], 10, n_units=4, **options)
    with pytest.raises(ValueError, match=r"dt is 0\.0; it must be above 0"):
        stream.bin([0], 10, n_units=4, dt=0.0)
    with pytest.raises(ValueError, match="n_steps is 0"):
        stream.bin([0], 0, n_units=4, duration=1.0)
    with pytest.raises(ValueError, match="times of 0 samples"):
        stream.bin([], 1, n_units=4, duration=1.0)
    with pytest.raises(ValueError, match=r"sample 0: times has shape \(3,\) and units \(2,\)"):
        EventInput.from_events([[0, 1, 2]], [[0, 1]], 3, 2, 1.0)
    with pytest.raises(ValueError, match=r"shd\.h5: holds 3 times, 2 units and 3 labels"):
        EventStream(TIMES, UNITS[:2], np.array(LABELS), "shd.h5")


def test_files_of_other_kinds_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of events there"):
        read_event_stream(tmp_path / "none.h5")
    (tmp_path / "text").write_text("times")
    with pytest.raises(ValueError, match="text is not a file of events: not an HDF5 file"):
        read_event_stream(tmp_path / "text")
    whole = h5py.vlen_dtype(np.int32)
    for name, make, words in (
        ("spikes/times", None, "/spikes/times must hold real numbers of any length for each sample; there is none"),
        ("spikes/times", lambda file, at: file.create_dataset(at, 3, whole), "/spikes/times must hold real numbers"),
        (
            "spikes/units",
            lambda file, at: file.create_dataset(at, (3, 2), np.float32),
            r"/spikes/units .*; there is float32 \(3, 2\)",
        ),
        ("spikes/units", lambda file, at: file.create_group(at), "/spikes/units .*; there is none"),
        (
            "labels",
            lambda file, at: file.create_dataset(at, 3, np.float32),
            "/labels must hold whole numbers for each sample",
        ),
        ("labels", lambda file, at: file.create_dataset(at, 2, np.int32), "holds 3 times, 3 units and 2 labels"),
    ):
        path = tmp_path / "other.h5"
        write_shd(path)
        with h5py.File(path, "r+") as file:
            del file[name]
            if make:
                make(file, name)
        with pytest.raises(ValueError, match=words):
            read_event_stream(path)


def test_what_cannot_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "events.h5"
    for times, units, labels, words in (
        ([[-1.0]], [[0]], [0], r"sample 0: times\[0\] is -1.0; it must be at least 0 s"),
        ([[np.nan]], [[0]], [0], r"sample 0: times\[0\] is nan"),
        ([[0.0, 1.0]], [[0]], [0], r"sample 0: times has shape \(2,\)"),
        ([[0.0]], [[-1]], [0], r"sample 0: units\[0\] is -1"),
        ([[0.0]], [[0]], [-1], r"labels\[0\] is -1"),
        ([[0.0]], [[0]], [0, 1], "holds 1 times, 1 units and 2 labels"),
    ):
        with pytest.raises(ValueError, match=words):
            write_event_stream(path, times, units, labels)
    assert list(tmp_path.iterdir()) == []
    write_event_stream(path, TIMES, UNITS, LABELS)
    with pytest.raises(FileExistsError):
        write_event_stream(path, TIMES, UNITS, LABELS)
    write_event_stream(path, TIMES[:1], UNITS[:1], LABELS[:1], overwrite=True)
    with read_event_stream(path) as stream:
        assert len(stream) == 1
