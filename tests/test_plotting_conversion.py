"""Pictures of converted networks: lines, dots and words are those of the tables."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from evsim.accuracy import AccuracyOverTime, EarlyExit
from evsim.compare import LayerComparison
from evsim.plotting import plot_accuracy_over_time, plot_activations


def table():
    steps = np.arange(1, 21)
    return AccuracyOverTime(
        steps, 1.0 - 0.9 / steps, 10.0 * steps, 1e6 * steps, np.zeros(20), 1e-6 * steps, (), np.zeros(0), np.zeros(0),
        (EarlyExit(2.0, 0.8, 5.5, 50.0, 5e6, 5e-6),), 10,
    )  # fmt: skip


def test_accuracy_and_operations_over_time(tmp_path):
    figure, (above, below) = plot_accuracy_over_time(table(), ann_accuracy=0.97, title="converted")
    np.testing.assert_allclose(above.lines[0].get_ydata(), 100.0 * table().accuracy)
    assert list(above.lines[1].get_ydata()) == [97.0, 97.0]
    assert above.lines[2].get_xydata().tolist() == [[5.5, 80.0]]
    assert [text.get_text() for text in above.texts] == ["ANN 97.00 %", "margin 2: 80.00 %, 5.5 steps"]
    assert below.lines[0].get_xydata().tolist() == [[5.5, 5.0]]
    np.testing.assert_allclose(below.lines[1].get_ydata(), np.arange(1, 21))
    assert [text.get_text() for text in below.texts] == ["20 uJ in 20 steps"]
    figure.savefig(tmp_path / "accuracy.png")


def test_rates_against_activations(tmp_path):
    rng = np.random.default_rng(1)
    activation = rng.random((50, 200)).astype(np.float32)
    rate = activation + 0.1 * rng.random((50, 200)).astype(np.float32)
    layers = [LayerComparison(f"relu{k}", k, activation, rate) for k in range(5)]
    figure, axes = plot_activations(layers, title="rates")
    assert len(axes) == 5
    dots = axes[0].collections[0].get_offsets().data
    assert len(dots) == 4000
    assert {tuple(dot) for dot in dots} <= set(zip(activation.ravel().tolist(), rate.ravel().tolist(), strict=True))
    assert axes[3].get_title(loc="left") == "3 relu3"
    assert axes[0].texts[0].get_text() == f"r = {layers[0].correlation:.4f}\nerror {100 * layers[0].error:.1f} %"
    figure.savefig(tmp_path / "activations.png")
    with pytest.raises(ValueError, match="layers is empty"):
        plot_activations([])


def test_correlation_and_error_of_a_layer():
    activation = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    exact, half = (LayerComparison("relu", 1, activation, factor * activation) for factor in (1.0, 0.5))
    assert exact.correlation == pytest.approx(half.correlation) == pytest.approx(1.0)
    assert (exact.error, half.error) == (0.0, 0.5)
    assert np.isnan(LayerComparison("relu", 1, activation, np.zeros((2, 2), np.float32)).correlation)
