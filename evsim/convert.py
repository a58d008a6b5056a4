"""From a trained ordinary network to a spiking one: ReLUs become integrate-and-fire neurons.

A neuron that adds up its input and takes its threshold off v at a spike fires at the rate max(input, 0) / threshold:
a ReLU. With rates for activations the weights stay as they are, or are scaled so that rates are neither too low to be
read nor higher than neurons can fire.

Sources: Cao et al. 2015, "Spiking deep convolutional neural networks for energy-efficient object recognition";
Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient event-driven networks for image
classification"; the rules of sinabs' from_model and normalize_weights, and of SpikingJelly's ann2snn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks, sinabs, spikingjelly
from evsim.analog import BATCH, AnalogNetwork, ReLU, with_weights
from evsim.layers import Connection, Conv2d, Flatten, Layer, Pool
from evsim.neurons import NeuronModel
from evsim.sequential import Sequential
from evsim.torch_layers import is_torch, read_torch

__all__ = ["Converted", "convert"]

F8 = NDArray[np.float64]
NEURONS = ("IAF", "IF")
LEAST = 0.01  # of a layer's measure: a channel's below it would give weights with which single spikes are bursts


class Converted(Sequential):
    """A converted network: a `Sequential` that knows what it was made from.

    Attributes
    ----------
    ann : AnalogNetwork
    scales : {index of a layer of neurons, or of a last layer of sums: array}
        The activation that one spike a step, or a sum of 1, stands for: (1,), or (channels,) with `per_channel`.
    input_scale : as `convert` was given it.
    """

    ann: AnalogNetwork
    scales: dict[int, F8]
    input_scale: float


def convert(
    model: Any,
    spike_threshold: float = 1.0,
    min_v_mem: float | None = -1.0,
    bias_rescaling: float = 1.0,
    add_spiking_output: bool = False,
    neurons: str = "IAF",
    normalize: str | float | None = None,
    data: Any = None,
    per_channel: bool = False,
    max_rate: float = 1.0,
    input_scale: float = 1.0,
    threads: int | None = None,
    backend: str = "auto",
) -> Converted:
    """Convert a trained network of ReLUs into a spiking one.

        net = evsim.convert(ann, add_spiking_output=True)                            # sinabs' from_model
        net = evsim.convert(ann, neurons="IF", normalize="99.9%", data=images)       # SpikingJelly's ann2snn

    Batch normalisation is folded into the weights before it, dropout left out, pools and Flatten stay; a MaxPool2d
    takes the largest number of spikes in each step. With `normalize`, s being that measure of a ReLU's activations in
    the layer it is behind, and s_in the same of the layer before,

        weight <- weight * s_in / s * spike_threshold,    bias <- bias / s * spike_threshold

    so that a unit whose activation is s spikes once a step, or, s being divided by it, `max_rate` times. The ordinary
    network's results stay, with biases or without; sinabs' normalize_weights, which does the same without biases,
    leaves those of later layers too large.

    Parameters
    ----------
    model : torch.nn.Sequential, a module that torch.fx has traced or can, AnalogNetwork, or a list of layers.
    spike_threshold : of all neurons.
    min_v_mem : lower bound of v of IAF neurons, or None. IF neurons have none.
    bias_rescaling : what biases are divided by.
    add_spiking_output : whether neurons follow the last layer where no ReLU does. Without, the network gives sums.
    neurons : "IAF", which spike several times in a step where v is several thresholds, as sinabs' do;
        "IF", which spike once, as SpikingJelly's do. Both take the threshold off v.
    normalize : "max"; a percentile such as "99.9%" or 99.9; a number in (0, 1] times the maximum; None: not at all.
    data : (N, ...) samples as `model` takes them, for `normalize`.
    per_channel : whether s is that of each channel, at least a hundredth of the layer's. A channel where it is 0 takes
        the layer's.
    max_rate : spikes a step of a unit whose activation is s. Fewer cost fewer operations, more are precise sooner.
    input_scale : what 1 in the input of the spiking network stands for in the model's: 255 for a network trained on
        8-bit pixels and shown spikes with probability pixel / 255. The first weights are multiplied by it.
    threads, backend : as in `Sequential`.

    Returns
    -------
    A Sequential with the attributes `ann`, `scales` and `input_scale`.

    Raises
    ------
    ValueError, TypeError : a module that is not supported, named by its path; a parameter out of range; activations
        that are all 0 by the measure.
    """
    threshold = checks.number("convert", "spike_threshold", spike_threshold, 0.0, inclusive=False)
    rescaling = checks.number("convert", "bias_rescaling", bias_rescaling, 0.0, inclusive=False)
    rate = checks.number("convert", "max_rate", max_rate, 0.0, inclusive=False)
    input_scale = checks.number("convert", "input_scale", input_scale, 0.0, inclusive=False)
    ann = as_analog(model)
    if not any(isinstance(layer, Connection) for layer in ann.layers):
        raise ValueError("convert: the model has no Linear or convolution; it must have one")
    if add_spiking_output and not isinstance(ann.layers[-1], ReLU):
        ann = AnalogNetwork(*ann.layers, ReLU(), names=[*ann.names, "spike_output"])
    neuron = _neurons(neurons, threshold, min_v_mem)
    measured = {} if normalize is None else measure_activations(ann, normalize, data, per_channel)
    layers: list[Layer | NeuronModel] = []
    scales: dict[int, F8] = {}
    one = np.ones(1)
    scale, target = one, one  # what a spike a step (or a value of 1) stands for, here and behind the next ReLU
    factor = input_scale  # of the next weights
    for index, layer in enumerate(ann.layers):
        if isinstance(layer, Connection):
            bias = None if layer.bias is None else layer.bias / rescaling
            if normalize is None:
                layers.append(with_weights(layer, layer.weight * factor, bias))
                target = scale * threshold
            else:
                target = measured[index] / rate if index in measured else one
                unit = target / threshold if index in measured else target
                layers.append(rescaled(layer, scale * factor, unit, bias))
                scale = unit
            factor = 1.0
        elif isinstance(layer, ReLU):
            layers.append(neuron)
            scale = target
            scales[len(layers) - 1] = scale
            target = scale * threshold
        else:
            layers.append(layer)
    scales[len(layers) - 1] = scale
    net = Converted(*layers, threads=threads, backend=backend)
    net.ann, net.scales, net.input_scale = ann, scales, input_scale
    return net


def as_analog(model: Any) -> AnalogNetwork:
    """The layers of a model of any kind."""
    if isinstance(model, AnalogNetwork):
        return model
    if is_torch(model):
        return read_torch(model)
    if isinstance(model, Sequence) and not isinstance(model, str):
        return AnalogNetwork(*model)
    raise TypeError(
        f"convert: the model is a {type(model).__name__}; it must be a torch.nn.Module, an AnalogNetwork or a list of "
        "layers"
    )


def measure_activations(ann: AnalogNetwork, normalize: str | float, data: Any, per_channel: bool) -> dict[int, F8]:
    """The measure of the ReLU behind each connection that has one: (1,) or (channels,), by the connection's index."""
    if data is None:
        raise ValueError("convert: normalize wants data=, samples as the model takes them")
    samples = checks.as_floats("convert", "data", data)
    if samples.ndim < 2 or len(samples) == 0:
        raise ValueError(f"convert: data has shape {samples.shape}; it must be (N, ...), one sample or more")
    percentile, share = _measure(normalize)
    behind = _rectified(ann.layers)
    made = {}
    for at, index in behind.items():
        connection = ann.layers[index]
        assert isinstance(connection, Connection)
        parts = [_values(ann, samples[first : first + BATCH], at) for first in range(0, len(samples), BATCH)]
        values = np.concatenate([part.reshape(len(part), len(connection.weight), -1) for part in parts])
        whole = share * np.percentile(values, percentile)
        own = share * np.percentile(values, percentile, axis=(0, 2)) if per_channel else np.array([whole])
        if not whole > 0.0:
            raise ValueError(
                f"convert: {ann.names[at]} (ReLU): normalize={normalize!r} of its activations is {whole:g}; it must be "
                "above 0: give a higher percentile, or other data"
            )
        made[index] = np.where(own > 0.0, np.maximum(own, LEAST * whole), whole)
    return made


def rescaled(connection: Connection, scale_in: F8, scale_out: F8, bias: Any) -> Connection:
    """The connection with weight * scale_in / scale_out and bias / scale_out, of its channels in and out."""
    weight = connection.weight.astype(np.float64)
    n_out, n_in = weight.shape[:2]
    groups = connection.groups if isinstance(connection, Conv2d) else 1
    each_in = np.repeat(scale_in, n_in * groups // len(scale_in))  # a flattened channel is so many units
    own = np.repeat(each_in.reshape(groups, n_in), n_out // groups, axis=0)  # (n_out, n_in)
    each_out = np.broadcast_to(scale_out, n_out)
    factor = own / each_out[:, np.newaxis]
    weight = weight * factor.reshape(n_out, n_in, *(1,) * (weight.ndim - 2))
    return with_weights(connection, weight, None if bias is None else bias / each_out)


def _neurons(kind: str, threshold: float, min_v_mem: float | None) -> NeuronModel:
    if kind not in NEURONS:
        raise ValueError(f"convert: neurons is {kind!r}; it must be one of {', '.join(map(repr, NEURONS))}")
    if kind == "IAF":
        return sinabs.IAF(spike_threshold=threshold, min_v_mem=min_v_mem)
    return spikingjelly.IFNode(v_threshold=threshold, v_reset=None)


def _measure(normalize: str | float) -> tuple[float, float]:
    """A percentile, and what it is multiplied by."""
    if normalize == "max":
        return 100.0, 1.0
    try:
        percent = isinstance(normalize, str) and normalize.endswith("%")
        number = float(normalize.rstrip("%") if isinstance(normalize, str) else normalize)
        if (percent and 0.0 < number <= 100.0) or (not isinstance(normalize, str | bool) and 1.0 < number <= 100.0):
            return number, 1.0
        if not isinstance(normalize, str | bool) and 0.0 < number <= 1.0:
            return 100.0, number
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"convert: normalize is {normalize!r}; it must be 'max', a percentile such as '99.9%' or 99.9, or a share of "
        "the maximum in (0, 1]"
    )


def _rectified(layers: Sequence[Layer]) -> dict[int, int]:
    """Places of ReLUs, each with that of the connection before it; pools and Flatten may be between."""
    found, connection = {}, None
    for at, layer in enumerate(layers):
        if isinstance(layer, Connection):
            connection = at
        elif isinstance(layer, ReLU):
            if connection is not None:
                found[at] = connection
            connection = None
        else:
            assert isinstance(layer, Pool | Flatten)
    return found


def _values(ann: AnalogNetwork, x: Any, at: int) -> NDArray[np.float32]:
    """What layer `at` gives."""
    return next(values for index, values in enumerate(ann.activations(x)) if index == at)
