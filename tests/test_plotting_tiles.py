"""Small images side by side: each is where it belongs, on one scale of colours."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from evsim.plotting import plot_feature_maps, plot_receptive_fields, plot_weights


def ticks(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def test_receptive_fields_are_tiled_row_by_row(tmp_path):
    """Five images of 2 x 3 in rows of two, with a gap of one pixel around each."""
    weights = np.arange(30.0).reshape(6, 5)
    figure, axis = plot_receptive_fields(weights, shape=(2, 3), labels=[4, 0, -1, 1, 2], columns=2)
    tiles = axis.images[0].get_array()
    assert tiles.shape == (10, 9)
    for k in range(5):
        y, x = 1 + k // 2 * 3, 1 + k % 2 * 4
        np.testing.assert_array_equal(tiles[y : y + 2, x : x + 3], weights[:, k].reshape(2, 3))
    assert np.ma.count(tiles) == 30  # the gaps are masked
    assert [text.get_text() for text in axis.texts] == ["4", "0", "1", "2"]
    assert axis.images[0].get_clim() == (0.0, 29.0)
    figure.savefig(tmp_path / "fields.png")


def test_receptive_fields_with_negative_weights_are_coloured_about_0():
    _, axis = plot_receptive_fields(np.array([[-2.0], [1.0]]), shape=(1, 2))
    assert axis.images[0].get_clim() == (-2.0, 2.0)
    _, axis = plot_receptive_fields(np.zeros((2, 1)), shape=(1, 2), w_max=0.5)
    assert axis.images[0].get_clim() == (0.0, 0.5)


def test_columns_make_the_picture_about_square_and_fill_it():
    for n, columns in ((1, 1), (7, 3), (10, 4), (20, 5), (32, 6), (100, 10), (400, 20)):
        _, axis = plot_receptive_fields(np.ones((784, n)))
        assert axis.images[0].get_array().shape[1] == columns * 29 + 1


def test_feature_maps_share_one_scale_and_are_numbered(tmp_path):
    """Five maps of 24 x 30 in rows of two: nothing is enlarged, the gap is one pixel."""
    maps = np.random.default_rng(0).poisson(2.0, (5, 24, 30))
    figure, axis = plot_feature_maps(maps, columns=2, label="spikes", title="conv1")
    tiles = axis.images[0].get_array()
    for k in range(5):
        y, x = 1 + k // 2 * 25, 1 + k % 2 * 31
        np.testing.assert_array_equal(tiles[y : y + 24, x : x + 30], maps[k])
    assert axis.images[0].get_clim() == (0.0, maps.max())
    assert axis.images[0].cmap.name == "magma"
    assert ticks(axis) == ["0", "2", "4"]
    np.testing.assert_array_equal(axis.get_yticks(), [12.5, 37.5, 62.5])  # half-way down each row
    assert axis.get_ylabel() == "channel"
    assert axis.images[0].colorbar.ax.get_ylabel() == "spikes"
    figure.savefig(tmp_path / "maps.png")


def test_small_maps_are_enlarged_so_that_gaps_are_narrow():
    maps = np.arange(50.0).reshape(2, 5, 5)
    tiles = plot_feature_maps(maps)[1].images[0].get_array()
    assert tiles.shape == (22, 43)  # 4 pixels a value, gaps of 1
    np.testing.assert_array_equal(tiles[1:21:4, 1:21:4], maps[0])
    np.testing.assert_array_equal(tiles[4:21:4, 25:42:4], maps[1])


def test_colours_of_maps_follow_the_sign_of_their_values():
    def limits(values, **options):
        image = plot_feature_maps(np.reshape(values, (1, 1, -1)), **options)[1].images[0]
        return *image.get_clim(), image.cmap.name

    assert limits([0.0, 3.0]) == (0.0, 3.0, "magma")
    assert limits([-1.0, 3.0]) == (-3.0, 3.0, "RdBu_r")
    assert limits([-70.0, -50.0]) == (-70.0, -50.0, "magma")
    assert limits([0.0]) == (0.0, 1.0, "magma")
    assert limits([2.0]) == (0.0, 2.0, "magma")
    assert limits([-2.0]) == (-2.0, 0.0, "magma")
    assert limits([-1.0, 3.0], limits=(0, 5)) == (0, 5, "magma")


def test_weights_of_a_convolution_are_stacks_of_input_channels(tmp_path):
    weights = np.random.default_rng(0).normal(size=(7, 3, 5, 5))
    figure, axis = plot_weights(weights, columns=4, title="conv1")
    tiles = axis.images[0].get_array()
    for out in range(7):
        for channel in range(3):
            y, x = 3 + out // 4 * (62 + 3) + channel * 21, 3 + out % 4 * 23  # 4 pixels a weight
            np.testing.assert_array_equal(tiles[y : y + 20 : 4, x : x + 20 : 4], weights[out, channel])
    assert np.ma.count(tiles) == 16 * weights.size  # the gaps are masked
    top = np.abs(weights).max()
    assert axis.images[0].get_clim() == (-top, top)
    assert axis.images[0].cmap.name == "RdBu_r"
    assert ticks(axis) == ["0", "4"]
    assert axis.get_xlabel() == "each stack: the 3 input channels of one output"
    figure.savefig(tmp_path / "weights.png")


def test_weights_of_a_linear_layer_take_the_shape_of_its_input():
    weights = np.arange(10 * 784.0).reshape(10, 784)
    _, axis = plot_weights(weights, shape=(28, 28), w_max=2.0)
    tiles = axis.images[0].get_array()
    np.testing.assert_array_equal(tiles[1:29, 30:58], weights[1].reshape(28, 28))
    assert axis.images[0].get_clim() == (-2.0, 2.0)  # about 0, though none is negative
    assert axis.get_xlabel() == ""
    _, flat = plot_weights(weights[:, :75], shape=(3, 5, 5))
    _, convolution = plot_weights(weights[:, :75].reshape(10, 3, 5, 5))
    np.testing.assert_array_equal(flat.images[0].get_array(), convolution.images[0].get_array())


def test_large_layers_are_drawn_without_growing_out_of_bounds(tmp_path):
    figure, axis = plot_weights(np.random.default_rng(0).normal(size=(256, 128, 3, 3)))
    assert max(axis.images[0].get_array().shape) < 4000
    assert max(figure.get_size_inches()) < 9
    figure.savefig(tmp_path / "weights.png")


def test_row_numbers_keep_apart():
    _, axis = plot_feature_maps(np.ones((400, 2, 2)), columns=2)
    assert len(ticks(axis)) < 45
    assert ticks(axis)[0] == "0"


def test_bad_fields_are_named():
    for weights, options, words in (
        (np.zeros((5, 2)), {}, r"weights is \(5, 2\); .* n_inputs = 28 \* 28"),
        (np.full((1, 1), np.nan), {"shape": (1, 1)}, r"weights\[0, 0\] is nan"),
        (np.zeros((1, 2)), {"shape": (1, 1), "labels": [1]}, "labels has 1 entries; it must have 2"),
        (np.zeros((1, 2)), {"shape": (1, 1), "columns": 0}, "columns is 0"),
        (np.zeros((1, 2)), {"shape": (1, 1), "w_max": 0.0}, r"w_max is 0\.0"),
    ):
        with pytest.raises(ValueError, match=f"receptive fields: {words}"):
            plot_receptive_fields(weights, **options)


def test_bad_maps_and_weights_are_named():
    for values, options, words in (
        (np.zeros((5, 2)), {}, r"values is \(5, 2\); it must be \(channels, height, width\): choose one sample"),
        (np.zeros((0, 2, 2)), {}, r"values is \(0, 2, 2\)"),
        (np.array([[[0.0, np.inf]]]), {}, r"values\[0, 0, 1\] is inf; values must be finite"),
        (np.zeros((1, 2, 2)), {"columns": -1}, "columns is -1; it must be at least 1"),
        (np.zeros((1, 2, 2)), {"limits": (1.0, 0.0)}, r"limits are \(1, 0\); they must be finite, the lower one first"),
    ):
        with pytest.raises(ValueError, match=f"feature maps: {words}"):
            plot_feature_maps(values, **options)
    for weights, options, words in (
        (np.zeros((5, 9)), {}, r"weights is \(5, 9\); .*with shape=\(height, width\)"),
        (np.zeros((5, 9)), {"shape": (3, 2)}, r"shape is \(3, 2\); .* of 9 inputs"),
        (np.zeros((5, 9)), {"shape": (9,)}, r"shape is \(9,\)"),
        (np.zeros((5, 1, 3, 3)), {"shape": (3, 3)}, r"weights is \(5, 1, 3, 3\) and shape is given"),
        (np.zeros((5, 0, 3, 3)), {}, r"weights is \(5, 0, 3, 3\); it must hold at least one weight"),
        (np.full((1, 1, 1, 2), np.nan), {}, r"weights\[0, 0, 0, 0\] is nan"),
        (np.zeros((1, 1, 1, 2)), {"w_max": -1.0}, r"w_max is -1\.0; it must be above 0"),
        (np.zeros((1, 1, 1, 2)), {"columns": 0}, "columns is 0"),
    ):
        with pytest.raises(ValueError, match=f"weight images: {words}"):
            plot_weights(weights, **options)
