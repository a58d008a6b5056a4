"""All pictures in one place. Each returns a matplotlib figure and its axes; needs matplotlib.

Recordings: `plot_raster`, `plot_traces`. Layered networks: `plot_neuron`, `plot_heatmap`, `plot_spikes`,
`plot_layer_activity`. Small images side by side: `plot_receptive_fields`, `plot_feature_maps`, `plot_weights`.
Predictions: `plot_confusion_matrix`. Converted networks: `plot_accuracy_over_time`, `plot_activations`.
"""

from evsim.plotting_confusion import plot_confusion_matrix
from evsim.plotting_conversion import plot_accuracy_over_time, plot_activations
from evsim.plotting_layers import plot_heatmap, plot_layer_activity, plot_neuron, plot_spikes
from evsim.plotting_recordings import plot_raster, plot_traces
from evsim.plotting_style import COLORS, INK, MAX_DOTS
from evsim.plotting_tiles import plot_feature_maps, plot_receptive_fields, plot_weights

__all__ = [
    "COLORS",
    "INK",
    "MAX_DOTS",
    "plot_accuracy_over_time",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_feature_maps",
    "plot_heatmap",
    "plot_layer_activity",
    "plot_neuron",
    "plot_raster",
    "plot_receptive_fields",
    "plot_spikes",
    "plot_traces",
    "plot_weights",
]
