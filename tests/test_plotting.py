"""Pictures: what they show agrees with what was recorded, and what they leave out they say."""

import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from evsim import plotting, plotting_recordings
from evsim.io.reader import State
from evsim.io.recording import RecordingWriter, open_recording
from evsim.plotting import plot_confusion_matrix, plot_raster, plot_traces


def poisson(rate, n_neurons, duration, seed=0):
    rng = np.random.default_rng(seed)
    n = rng.poisson(rate * n_neurons * duration * 1e-3)
    return rng.integers(0, n_neurons, n), np.sort(np.floor(rng.random(n) * duration * 10)) / 10


def dots(axis):
    """(n, 2) time and row of every dot drawn."""
    return np.concatenate([collection.get_offsets() for collection in axis.collections])


def labels(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def test_every_spike_of_a_small_raster_is_a_dot(tmp_path):
    figure, axes = plot_raster({"a": (np.array([0, 3, 1]), np.array([1.0, 5.0, 9.0]))}, sizes={"a": 4}, stop=10.0)
    assert dots(axes[0]).tolist() == [[1.0, 3.5], [5.0, 0.5], [9.0, 2.5]]  # neuron 0 on top
    assert labels(axes[0]) == ["a\n(4)"]
    assert axes[0].get_xlim() == (0.0, 10.0)
    assert "bins of 1 ms" in axes[1].get_xlabel()
    figure.savefig(tmp_path / "raster.png")
    assert (tmp_path / "raster.png").stat().st_size > 5000


def test_thinned_raster_says_so_and_rates_count_all():
    spikes = {"exc": poisson(30.0, 8000, 500.0), "inh": poisson(60.0, 2000, 500.0, 1)}
    _, axes = plot_raster(spikes, sizes={"exc": 8000, "inh": 2000}, stop=500.0)
    assert labels(axes[0]) == ["exc\n(800 of 8,000)", "inh\n(200 of 2,000)"]
    shown = [np.isin(spikes[name][0], np.arange(0, size, 10)).sum() for name, size in (("exc", 8000), ("inh", 2000))]
    assert len(dots(axes[0])) == sum(shown)
    assert [axis.texts[0].get_text() for axis in axes[1:]] == [
        f"{name}\n{len(spikes[name][0]) / size / 0.5:.3g} Hz" for name, size in (("exc", 8000), ("inh", 2000))
    ]


def test_long_raster_is_thinned_to_a_bounded_number_of_dots(monkeypatch):
    monkeypatch.setattr(plotting_recordings, "MAX_DOTS", 1000)
    _, axes = plot_raster({"a": poisson(40.0, 100, 10_000.0)}, sizes={"a": 100})
    assert 300 < len(dots(axes[0])) < 1500
    assert labels(axes[0]) == ["a\n(2 of 100)"]


def test_small_population_beside_large_ones_stays_visible():
    sizes = {"big": 20_000, "tiny": 100}
    _, axes = plot_raster({name: poisson(5.0, n, 100.0) for name, n in sizes.items()}, sizes=sizes)
    rows = axes[0].get_ylim()[1]
    assert axes[0].get_yticks()[1] > 0.03 * rows


def test_recording_and_its_arrays_give_the_same_raster(tmp_path):
    ids, times = poisson(20.0, 50, 300.0)
    with RecordingWriter(tmp_path / "a.h5", {"p": 50, "q": 5}, ["p", "q"], dt=0.1) as writer:
        writer.write_spikes("p", np.rint(times * 10) / 10, ids)
        writer.commit(3000)
    with open_recording(tmp_path / "a.h5") as recording:
        _, axes = plot_raster(recording, start=100.0, stop=200.0, populations=["p"])
        _, both = plot_raster(recording)
    _, expected = plot_raster({"p": (ids, times)}, start=100.0, stop=200.0, sizes={"p": 50})
    np.testing.assert_array_equal(dots(axes[0]), dots(expected[0]))
    assert len(both) == 3
    assert both[0].get_xlim() == (0.0, 300.0)


def test_eight_populations_get_distinct_colours(tmp_path):
    spikes = {f"L{k}": poisson(5.0, 100, 100.0, k) for k in range(8)}
    figure, axes = plot_raster(spikes, title="Microcircuit")
    assert len(axes) == 9
    assert len({label.get_color() for label in axes[0].get_yticklabels()}) == 8
    figure.savefig(tmp_path / "raster.png")


def test_traces_show_values_and_threshold(tmp_path):
    times = np.arange(100) * 0.1
    values = np.random.default_rng(0).random((100, 8)).astype(np.float32)
    figure, axes = plot_traces(State(times, np.arange(8), values, "v", "mV", 0.1), v_threshold=1.0, title="exc")
    assert len(axes) == 6
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), values[:, 2])
    assert axes[0].lines[1].get_ydata() == [1.0, 1.0]
    assert "first 6 of 8" in axes[-1].get_xlabel()
    figure.savefig(tmp_path / "traces.png")


def test_confusion_matrix_shows_counts_and_shares(tmp_path):
    figure, axis = plot_confusion_matrix(np.array([[3, 1, 0], [0, 2, 0]]), names=["cat", "dog"])
    np.testing.assert_array_equal(axis.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
    assert [text.get_text() for text in axis.texts] == ["3", "1", "2"]
    assert labels(axis) == ["cat", "dog"]
    assert axis.get_title(loc="left") == "83.3% of 6 samples correct"
    figure.savefig(tmp_path / "confusion.png")


def test_samples_without_a_prediction_get_a_column():
    _, axis = plot_confusion_matrix(np.array([[3, 0, 1], [0, 0, 0]]))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1", "none"]
    assert axis.get_title(loc="left") == "75.0% of 4 samples correct"


def test_bad_counts_are_named():
    for matrix, names, words in (
        (np.zeros((2, 4)), None, r"matrix is \(2, 4\)"),
        (np.zeros(2), None, r"matrix is \(2,\)"),
        (np.array([[-1]]), None, "a count is -1"),
        (np.zeros((2, 2)), ["a"], "names has 1 entries; it must have 2"),
    ):
        with pytest.raises(ValueError, match=f"confusion matrix: {words}"):
            plot_confusion_matrix(matrix, names)


def test_bad_input_is_named():
    spikes = {"exc": (np.array([1]), np.array([1.0]))}
    with pytest.raises(ValueError, match="population 'x'; recorded: exc"):
        plot_raster(spikes, populations=["x"])
    with pytest.raises(ValueError, match="no spikes were recorded"):
        plot_raster({})
    with pytest.raises(ValueError, match="window from 5 to 5 ms is empty"):
        plot_raster(spikes, start=5.0, stop=5.0)
    with pytest.raises(ValueError, match="state 'v' has no frames"):
        plot_traces(State(np.zeros(0), np.arange(1), np.zeros((0, 1)), "v", "mV", 0.1))


@pytest.mark.parametrize(
    ("plot", "arguments"),
    [
        ("plot_raster", [{"exc": (np.array([1]), np.array([1.0]))}]),
        ("plot_traces", [State(np.zeros(1), np.arange(1), np.zeros((1, 1)), "v", "mV", 0.1)]),
        ("plot_confusion_matrix", [np.eye(2)]),
        ("plot_neuron", [[0.5], [0]]),
        ("plot_heatmap", [np.ones((2, 2))]),
        ("plot_spikes", [np.ones((2, 2))]),
        ("plot_layer_activity", [{"a": np.ones((2, 2))}]),
        ("plot_receptive_fields", [np.ones((1, 2)), (1, 1)]),
        ("plot_feature_maps", [np.ones((2, 2, 2))]),
        ("plot_weights", [np.ones((2, 1, 2, 2))]),
    ],
)
def test_missing_matplotlib_is_named(monkeypatch, plot, arguments):
    """Also: every picture is in `evsim.plotting`."""
    assert plot in plotting.__all__
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"evsim\[plot\]"):
        getattr(plotting, plot)(*arguments)
