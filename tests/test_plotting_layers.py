"""Pictures of layered networks: lines, dots, colours and rates are those of the arrays."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from evsim import plotting_layers
from evsim.io.reader import State
from evsim.io.recording import RecordingWriter, open_recording
from evsim.plotting import plot_heatmap, plot_layer_activity, plot_neuron, plot_spikes


def integrate_and_fire(x, n_steps):
    """v after the reset to 0, and spikes, (n_steps, N)."""
    v, vs, spikes = np.zeros(len(x)), [], []
    for _ in range(n_steps):
        v = v + x
        spikes.append((v >= 1.0).astype(np.float32))
        v = np.where(v >= 1.0, 0.0, v)
        vs.append(v)
    return np.array(vs), np.array(spikes)


def lines(axis):
    return [tuple(line.get_ydata()) for line in axis.lines]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def dots(axis):
    return sorted(tuple(dot) for dot in axis.collections[0].get_offsets().data.tolist())


def recorded(values, ids, every=0.5, start=0.0):
    return State(start + every * np.arange(len(values)), np.asarray(ids), np.asarray(values), "v", "mV", every)


def test_neuron_shows_v_threshold_reset_and_spikes(tmp_path):
    v, spikes = integrate_and_fire(np.array([0.5]), 150)
    figure, axes = plot_neuron(v, spikes, title="IF neuron")
    membrane, stems = axes
    np.testing.assert_array_equal(membrane.lines[0].get_xydata(), np.column_stack([np.arange(150), v[:, 0]]))
    assert lines(membrane)[1:] == [(1.0, 1.0), (0.0, 0.0)]
    assert [line.get_linestyle() for line in membrane.lines] == ["-", "--", "--"]
    assert texts(membrane) == ["threshold 1", "reset 0"]
    assert stems.lines[0].get_xdata().tolist() == list(range(1, 150, 2))
    assert stems.collections[0].get_segments()[0].tolist() == [[1, 0], [1, 1]]
    assert texts(stems) == ["75 spikes"]
    assert (membrane.get_ylabel(), stems.get_ylabel()) == ("membrane potential v", "spikes")
    assert stems.get_xlabel() == "simulation step"
    assert membrane.get_xlim() == stems.get_xlim()
    figure.savefig(tmp_path / "neuron.png")
    assert (tmp_path / "neuron.png").stat().st_size > 5000


def test_soft_reset_has_no_line_and_a_neuron_can_be_chosen():
    v, spikes = integrate_and_fire(np.array([0.1, 0.3]), 20)
    membrane, stems = plot_neuron(v, 3 * spikes, v_threshold=2.0, v_reset=None, neuron=1)[1]
    assert lines(membrane) == [tuple(v[:, 1]), (2.0, 2.0)]
    assert texts(membrane) == ["threshold 2"]
    assert set(stems.lines[0].get_ydata()) == {3.0}
    assert texts(stems) == ["15 spikes"]


def test_names_of_close_lines_keep_apart():
    for low, sides in ((-1.0, ["center", "center"]), (-50.0, ["bottom", "top"])):
        membrane, _ = plot_neuron([low, 0.5], [0, 0])[1]
        assert [text.get_va() for text in membrane.texts] == sides


def test_neuron_of_a_recording_is_over_ms():
    v = recorded(np.random.default_rng(0).random((100, 2)), [3, 7])
    spikes = np.array([3, 7, 7, 7, 3]), np.array([1.0, 10.0, 30.0, 30.0, 60.0])
    membrane, stems = plot_neuron(v, spikes, neuron=7)[1]
    np.testing.assert_array_equal(membrane.lines[0].get_xydata(), np.column_stack([v.times, v.values[:, 1]]))
    np.testing.assert_array_equal(stems.lines[0].get_xydata(), [[10.0, 1.0], [30.0, 2.0]])
    assert stems.get_xlabel() == "time (ms)"
    assert membrane.get_ylabel() == "v (mV)"
    np.testing.assert_array_equal(plot_neuron(v, spikes)[1][1].lines[0].get_xdata(), [1.0])  # the first; 60 ms is later


def test_heatmap_is_the_transposed_array_over_steps(tmp_path):
    v, _ = integrate_and_fire(np.random.default_rng(0).random(32) / 8, 50)
    figure, axis = plot_heatmap(v, "membrane potentials", label="v")
    image = axis.images[0]
    np.testing.assert_array_equal(image.get_array(), v.T)
    assert image.get_extent() == [-0.5, 49.5, 31.5, -0.5]  # a step is centred at its number; neuron 0 on top
    assert image.get_clim() == (v.min(), v.max())
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("simulation step", "neuron index")
    assert axis.get_title(loc="left") == "membrane potentials"
    assert image.colorbar.ax.get_ylabel() == "v"
    figure.savefig(tmp_path / "heat.png")
    for ticks in (axis.get_xticks(), axis.get_yticks()):
        np.testing.assert_array_equal(ticks, np.round(ticks))


def test_heatmap_of_a_recording_names_its_neurons_and_units():
    figure, axis = plot_heatmap(recorded(np.random.default_rng(0).random((100, 3)) - 70, [3, 7, 90]))
    assert axis.images[0].get_extent() == [-0.25, 49.75, 2.5, -0.5]
    figure.draw_without_rendering()
    assert [label.get_text() for label in axis.get_yticklabels() if label.get_text()] == ["3", "7", "90"]
    assert axis.get_xlabel() == "time (ms)"
    assert axis.images[0].colorbar.ax.get_ylabel() == "v (mV)"
    assert plot_heatmap([[0.0, 1.0]], limits=(-2.0, 2.0))[1].images[0].get_clim() == (-2.0, 2.0)


@pytest.mark.parametrize("n_steps", [1, 2, 4])
def test_few_steps_have_whole_ticks(n_steps):
    values = np.ones((n_steps, 2))
    axes = [plot_heatmap(values)[1], plot_spikes(values)[1][0], plot_neuron(values, values)[1][1]]
    for axis in [*axes, plot_layer_activity({"a": values})[1][0]]:
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == list(range(n_steps))


def test_every_spike_is_a_dot_and_rates_are_spikes_per_step(tmp_path):
    _, spikes = integrate_and_fire(np.random.default_rng(0).random(32) / 8, 50)
    figure, (raster, beside) = plot_spikes(spikes, title="spikes")
    assert dots(raster) == sorted(tuple(map(float, at)) for at in np.argwhere(spikes))
    np.testing.assert_allclose(beside.patches[0].get_data().values, spikes.mean(axis=0))
    assert beside.get_title(loc="left") == f"mean {int(spikes.sum()) / 50 / 32:.3g}"
    assert raster.get_xlim() == (-0.5, 49.5)
    assert raster.get_ylim() == beside.get_ylim() == (31.5, -0.5)
    assert (raster.get_xlabel(), beside.get_xlabel()) == ("simulation step", "spikes per step")
    figure.savefig(tmp_path / "spikes.png")


def test_several_spikes_of_a_step_are_one_dot_and_all_count():
    raster, beside = plot_spikes(np.array([[0, 3], [1, 0]]))[1]
    assert dots(raster) == [(0.0, 1.0), (1.0, 0.0)]
    assert beside.patches[0].get_data().values.tolist() == [0.5, 1.5]
    raster, beside = plot_spikes(np.array([[0, 3], [1, 0]]) > 0, start=1, stop=2)[1]
    assert dots(raster) == [(1.0, 0.0)]
    assert beside.patches[0].get_data().values.tolist() == [1.0, 0.0]


def test_spikes_and_state_of_a_recording(tmp_path):
    rng = np.random.default_rng(0)
    steps, ids = np.sort(rng.integers(0, 1000, 300)), rng.integers(0, 20, 300)
    with RecordingWriter(tmp_path / "a.h5", {"p": 20}, ["p"], dt=0.1) as writer:
        writer.write_spikes("p", steps / 10, ids)
        writer.commit(1000)
    with open_recording(tmp_path / "a.h5") as recording:
        found = recording.spikes("p")
    raster, beside = plot_spikes(found, n_neurons=20, stop=100.0)[1]
    assert len(dots(raster)) == 300
    np.testing.assert_allclose(beside.patches[0].get_data().values, np.bincount(ids, minlength=20) / 0.1)
    assert raster.get_xlim() == (0.0, 100.0)
    assert beside.get_xlabel() == "rate (Hz)"
    _, beside = plot_spikes(recorded(np.ones((10, 2)), [0, 5]))[1]
    np.testing.assert_allclose(beside.patches[0].get_data().values, [2000.0, 2000.0])  # one each 0.5 ms


def test_crowded_raster_shows_fewer_neurons_and_says_so(monkeypatch):
    monkeypatch.setattr(plotting_layers, "MAX_DOTS", 100)
    raster, beside = plot_spikes(np.ones((25, 10)))[1]
    assert {row for _, row in dots(raster)} == {0.0, 3.0, 6.0, 9.0}
    assert raster.get_ylabel() == "neuron index (1 of 3 shown)"
    assert beside.patches[0].get_data().values.tolist() == [1.0] * 10


def test_silent_layers_are_drawn(tmp_path):
    silent = np.zeros((5, 3))
    drawn = plot_spikes(silent), plot_layer_activity({"a": silent}), plot_neuron([0.0], [0])
    for k, (figure, _) in enumerate(drawn):
        figure.savefig(tmp_path / f"{k}.png")
    (raster, rates), (over_time, overall) = drawn[0][1], drawn[1][1]
    assert len(dots(raster)) == 0
    assert rates.patches[0].get_data().values.tolist() == [0.0] * 3
    assert over_time.lines[0].get_ydata().tolist() == [0.0] * 5
    assert [bar.get_width() for bar in overall.patches] == [0.0]


def test_activity_of_layers_over_steps_and_altogether(tmp_path):
    rng = np.random.default_rng(0)
    activity = {"conv": rng.random((20, 2, 3, 4, 4)) < 0.1, "fc": rng.poisson(0.5, (20, 7))}
    figure, (over_time, overall) = plot_layer_activity(activity, title="network")
    for line, spikes in zip(over_time.lines, activity.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), spikes.reshape(20, -1).mean(axis=1))
    means = [spikes.mean() for spikes in activity.values()]
    np.testing.assert_allclose([bar.get_width() for bar in overall.patches], means)
    assert texts(overall) == [f" {mean:.3g}" for mean in means]
    assert [label.get_text() for label in overall.get_yticklabels()] == ["conv", "fc"]
    assert [label.get_color() for label in overall.get_yticklabels()] == [line.get_color() for line in over_time.lines]
    assert overall.get_ylim() == (1.5, -0.5)  # the first layer on top
    assert over_time.get_ylabel() == "spikes per neuron and step"
    figure.savefig(tmp_path / "layers.png")


def test_activity_of_recorded_layers_is_in_hz():
    over_time, overall = plot_layer_activity({"a": recorded(np.full((10, 2), 0.25), [0, 1])})[1]
    assert set(over_time.lines[0].get_ydata()) == {500.0}
    assert over_time.get_ylabel() == "rate (Hz)"


def test_many_layers_differ_in_colour_or_line():
    over_time, _ = plot_layer_activity({f"layer {k}": np.ones((3, 2)) for k in range(20)})[1]
    assert len({(line.get_color(), line.get_linestyle()) for line in over_time.lines}) == 20


def test_bad_neuron_is_named():
    v = np.zeros((5, 3))
    pair = (np.array([0]), np.array([1.0]))
    for arguments, words in (
        (
            (np.zeros((5, 2, 3)), v),
            r"v is \(5, 2, 3\); it must be \(T, N\): choose one sample or map, such as v\[:, 0\]",
        ),
        ((np.zeros((0, 3)), v), r"v is \(0, 3\); it must be \(T, N\) with at least one step"),
        ((np.array([[0.0], [np.nan]]), v), r"v\[1, 0\] is nan; values must be finite"),
        ((np.array(["a"]), v), "v is of type <U1; it must hold numbers"),
        ((v, np.zeros((5, 2))), r"spikes is \(5, 2\); it must be \(5, 3\), the shape of v"),
        ((v, v + 0.5), r"spikes\[0, 0\] is 0\.5; spikes must be whole numbers, 0 or more"),
        ((v, v - 1), r"spikes\[0, 0\] is -1; spikes must be"),
        ((v, v, 1.0, 0.0, 3), "neuron is 3; v holds neurons 0, 1, 2"),
        ((v, pair), "spikes has times and v has none"),
        ((pair, v), r"v is a tuple; it must be an array \(T, N\) or what Recording.state returns"),
    ):
        with pytest.raises(ValueError, match=f"neuron: {words}"):
            plot_neuron(*arguments)


def test_bad_heatmap_is_named():
    for arguments, words in (
        ((np.zeros((2, 3, 4)),), r"values is \(2, 3, 4\); it must be \(T, N\)"),
        ((np.float64(1.0),), r"values is \(\); it must be"),
        ((np.eye(2), None, None, (1.0, 1.0)), r"limits are \(1, 1\); they must be finite, the lower one first"),
        ((np.eye(2), None, None, (0.0, np.inf)), r"limits are \(0, inf\)"),
    ):
        with pytest.raises(ValueError, match=f"heat map: {words}"):
            plot_heatmap(*arguments)


def test_bad_spikes_are_named():
    ids, times = np.array([0, 4]), np.array([1.0, 2.0])
    for spikes, options, words in (
        (np.full((2, 2), 0.3), {}, r"spikes\[0, 0\] is 0\.3; spikes must be whole numbers"),
        (np.ones((2, 2)), {"n_neurons": 3}, "n_neurons is 3; spikes has 2 neurons"),
        (np.ones((2, 2)), {"start": 2}, "the window from 2 to 2 steps is empty; choose start < stop"),
        ((ids, times), {"n_neurons": 4}, "a spike is of neuron 4; ids must be 0 to 3"),
        ((ids, times), {"n_neurons": 0}, "n_neurons is 0; it must be at least 1"),
        ((ids, times[:1]), {}, r"ids \(2,\) and times \(1,\) must be two lists of one length"),
        ((times, ids), {}, "ids are of type float64; they must be integers, and come before the times"),
        ((ids, times * np.nan), {}, r"times\[0\] is nan"),
        ((ids, times), {"start": 5.0, "stop": 5.0}, "the window from 5 to 5 ms is empty"),
    ):
        with pytest.raises(ValueError, match=f"spike raster: {words}"):
            plot_spikes(spikes, **options)


def test_bad_activity_is_named():
    for activity, words in (
        ({}, "activity is empty; it must hold at least one layer"),
        ({"fc": np.full((2, 2), -1.0)}, "fc has a value of -1; spikes must be at least 0"),
        ({"fc": np.array([[np.inf]])}, r"fc\[0, 0\] is inf"),
        ({"fc": (np.array([0]), np.array([1.0]))}, "fc is a tuple; it must be an array"),
        ({"a": np.ones((2, 2)), "b": recorded(np.ones((2, 2)), [0, 1])}, "some layers are arrays, some recorded"),
    ):
        with pytest.raises(ValueError, match=f"layer activity: {words}"):
            plot_layer_activity(activity)
