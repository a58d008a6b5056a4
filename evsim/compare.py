"""How near the rates of a converted network are to the activations of the network that it was made from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.analog import AnalogNetwork, ReLU
from evsim.batch_build import BatchBuilt
from evsim.convert import Converted, as_analog
from evsim.encoders import poisson, repeat
from evsim.layer_frames import run_parts
from evsim.layer_values import as_seen

__all__ = ["LayerComparison", "compare_activations"]

F4 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """A layer of neurons, or the sums at the end, beside the same of the ordinary network.

    Attributes
    ----------
    name : of the ReLU.
    layer : index of the neurons in the spiking network.
    activation : (B, units) of the ordinary network.
    rate : (B, units) mean over steps of the spiking one, in the same unit.
    """

    name: str
    layer: int
    activation: F4
    rate: F4

    @property
    def correlation(self) -> float:
        """Pearson's, over samples and units; nan where either is constant."""
        a, r = (each.ravel() - each.mean(dtype=np.float64) for each in (self.activation, self.rate))
        size = float(np.sqrt((a @ a) * (r @ r)))
        return float(a @ r) / size if size > 0.0 else float("nan")

    @property
    def error(self) -> float:
        """Root of the mean squared difference, as a share of the root of the mean squared activation."""
        difference = (self.rate.astype(np.float64) - self.activation) ** 2
        return float(np.sqrt(difference.mean() / np.mean(self.activation.astype(np.float64) ** 2)))

    def __str__(self) -> str:
        return f"{self.layer} {self.name}: correlation {self.correlation:.4f}, error {100 * self.error:.1f} %"


def compare_activations(
    ann: Any, snn: Converted, x: Any, n_steps: int = 200, encoder: str = "direct", seed: int = 0
) -> list[LayerComparison]:
    """Activations of an ordinary network against rates of the spiking one made from it, layer by layer.

        layers = evsim.compare_activations(ann, snn, images[:100] / 255)
        print(*layers, sep="\\n")
        evsim.plotting.plot_activations(layers)

    A rate of r spikes a step is the activation r * s, s being what `convert` made a spike stand for (`snn.scales`).

    Parameters
    ----------
    ann : what was converted.
    snn : what came of it. Its state is reset.
    x : (B, ...) samples as the spiking network takes them; the ordinary one is given x * `snn.input_scale`.
    n_steps : that each is shown.
    encoder : "direct" or "poisson", as in `accuracy_over_time`.
    seed : of Poisson spikes.

    Returns
    -------
    One for each layer of neurons, and one for the sums that leave a last layer without.

    Raises
    ------
    TypeError : snn was not made by `convert`. ValueError : ann has other layers.
    """
    if not isinstance(snn, Converted):
        raise TypeError(f"compare_activations: snn is a {type(snn).__name__}; it must be what evsim.convert has made")
    if encoder not in ("direct", "poisson"):
        raise ValueError(f"compare_activations: encoder is {encoder!r}; it must be 'direct' or 'poisson'")
    network = as_analog(ann)
    if len(snn.ann.layers) == len(network.layers) + 1:  # neurons behind the output
        network = AnalogNetwork(*network.layers, ReLU(), names=[*network.names, snn.ann.names[-1]])
    if [type(layer) for layer in network.layers] != [type(layer) for layer in snn.ann.layers]:
        raise ValueError(f"compare_activations: snn was made from {snn.ann!r}, not from {network!r}")
    values = checks.as_floats("compare_activations", "x", x)
    given = repeat(values, n_steps) if encoder == "direct" else poisson(values, n_steps, seed)
    compared = sorted(snn.scales)  # both networks have the same numbers
    rates: dict[int, list[F4]] = {index: [] for index in compared}
    for part in run_parts(snn, given, lambda built: [_node(built, index) for index in compared]):
        for index, own in rates.items():
            k = _node(part.built, index)
            node = part.built.nodes[k]
            mean = part.frames[k].mean(axis=0, dtype=np.float64).astype(np.float32)
            seen = as_seen(node, mean[np.newaxis], node.scale)[0]
            own.append(_in_activations(seen, snn.scales[index]))
    made = []
    for index, activation in enumerate(network.activations(values * snn.input_scale)):
        if index in compared:
            flat = activation.reshape(len(activation), -1)
            made.append(LayerComparison(network.names[index], index, flat, np.concatenate(rates[index])))
    return made


def _node(built: BatchBuilt, layer: int) -> int:
    found = [k for k, node in enumerate(built.nodes) if node.layer == layer]
    return found[0] if found else len(built.nodes) - 1  # a Flatten at the end has none of its own


def _in_activations(rate: F4, scale: NDArray[np.float64]) -> F4:
    """Rates (B, ...) times what a spike stands for in each channel, as (B, units)."""
    flat = rate.reshape(len(rate), -1)
    return flat * np.repeat(scale, flat.shape[1] // len(scale)).astype(np.float32)
