"""EventProp: layers of LIF neurons in continuous time, with the exact gradients of their spike times.

    net = evsim.EventSequential(evsim.Linear(784, 350, bias=False), evsim.LIF(tau_mem=20.0, tau_syn=5.0), ...,
                                duration=30.0)
    output, backward = evsim.training.forward(net, x)      # x (K, B, 784) spike times in ms
    gradients = backward(output_gradient)                  # {"0.weight": ..., ...}

What is kept for the gradients is 20 bytes a spike, however long the time. Sums over samples are made in GROUPS groups,
so that the number of threads changes nothing.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.io.network_file import write_network
from evsim.layer_description import describe_layers
from evsim.layers import Linear
from evsim.neurons import LIF
from evsim.training import eventprop_kernels as kernels
from evsim.training.backward import forward
from evsim.training.groups import group_edges, share_groups
from evsim.training.spikes import Spikes, sorted_spikes

__all__ = ["EventBackward", "EventSequential"]

Doubles = NDArray[np.float64]
F4 = NDArray[np.float32]
FIXED = {"t_ref": 0.0, "i_bias": 0.0, "v_min": -np.inf, "theta_plus": 0.0}  # what EventProp's equations leave out

MOST_SPIKES = 5000  # of a neuron of a layer, on average: beyond is a network out of control, and a full memory


class EventSequential:
    """Linear layers, each followed by LIF neurons with exponential synapses, in continuous time.

        tau_mem dv/dt = (v_leak - v) + r_mem * i,   tau_syn di/dt = -i
        i jumps by the weight when a spike arrives; spike when v reaches v_threshold; then v = v_reset

    From spike to spike v and i are taken from their closed form, and spike times are found to 1e-13 tau_mem: there are
    no steps. `evsim.Trainer` and `evsim.training.forward` take such a network as they take a `Sequential`.
    Source: Wunderlich & Pehle 2021, Sci. Rep. 11:12829; Nowotny, Turner & Knight 2022, arXiv:2212.01232.

    Called with spike times x (K, B, inputs) it gives (1, B, outputs) float64. Each unit of x has up to K spikes, in any
    order; inf is none.

    Parameters
    ----------
    *layers : Linear(..., bias=False) and LIF by turns. The LIF has one tau_syn and numbers for parameters; no t_ref,
        i_bias, v_min, theta_plus. In continuous time the soft reset (v_reset=None) is v = v_leak. In the place of a
        bias serves an input that always spikes at the same time.
    duration : ms; what is later is not simulated.
    output : {"first_spike", "mean_v"}
        What the last layer gives: the time of each neuron's first spike (duration where there is none), or the mean of
        v over the duration, the last layer's neurons then not spiking.
    seed : of weights that are not given.
    threads : CPU threads, by default all cores; it never changes a result.

    Raises
    ------
    TypeError, ValueError : layers or parameters that do not fit, by name.
    """

    def __init__(
        self,
        *layers: Linear | LIF,
        duration: float,
        output: str = "first_spike",
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.duration = checks.number("EventSequential", "duration", duration, 0.0, inclusive=False, unit="ms")
        if output not in ("first_spike", "mean_v"):
            raise ValueError(f"EventSequential: output is {output!r}; it must be 'first_spike' or 'mean_v'")
        self.output = output
        self.seed = checks.size("EventSequential", "seed", seed, high=2**64 - 1)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = checks.size("EventSequential", "threads", cores if threads is None else threads, 1, 1024)
        if not layers or len(layers) % 2:
            raise ValueError(
                f"EventSequential: there are {len(layers)} layers; they must be pairs of a Linear and a LIF"
            )
        self.layers = list(layers)
        self._neurons = []
        width = None
        for index in range(0, len(layers), 2):
            width = _checked_linear(index, layers[index], width)
            self._neurons.append(_constants(index + 1, layers[index + 1]))
            self.connection(index).draw(np.random.Generator(np.random.Philox(key=[self.seed, index])))

    def __call__(self, x: Any) -> Doubles:
        """Run spike times (K, B, inputs); returns (1, B, outputs).

        Raises
        ------
        ValueError : a wrong shape, a time that is nan, negative or after the duration.
        RuntimeError : neurons that spike thousands of times.
        """
        return self.forward(x)[0]

    def forward(self, x: Any) -> tuple[Doubles, "EventBackward"]:
        """The output, and the function that gives the gradients of all weights from that of the output."""
        times = self._checked_times(x)
        weights = [np.ascontiguousarray(self.connection(index).weight.T) for index in range(0, len(self), 2)]
        n_samples = times.shape[1]
        output = np.empty((1, n_samples, weights[-1].shape[1]))
        edges = group_edges(n_samples)
        kept: list[list[Spikes]] = [[] for _ in edges[1:]]

        def work(low: int, high: int) -> None:
            for group in range(low, high):
                part = slice(*edges[group : group + 2])
                kept[group] = self._run(sorted_spikes(times[:, part]), weights, output[0, part])

        share_groups(self.threads, edges, work)
        return output, EventBackward(self, weights, kept)

    def reset(self) -> None:
        """Nothing: no state is kept from call to call. It is here for loops that take any network."""

    def parameters(self) -> dict[str, F4]:
        """All weights, by PyTorch's names: "0.weight", "2.weight", ..."""
        return {f"{index}.weight": self.connection(index).weight for index in range(0, len(self), 2)}

    def load_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set weights by the names of `parameters`; others stay.

        Raises
        ------
        KeyError : an unknown name. ValueError : a wrong shape.
        """
        known = list(self.parameters())
        for name, value in parameters.items():
            if name not in known:
                raise checks.nearest("EventSequential", "parameter", name, known)
            self.connection(int(name.split(".")[0])).weight = value

    def describe(self) -> dict[str, Any]:
        """Layers with all their parameters, and what the network was made with: what `save` writes."""
        made_with = {"duration": self.duration, "output": self.output, "seed": self.seed}
        return {**made_with, "layers": describe_layers(self.layers)}

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the network to an HDF5 file, exactly; `evsim.load_network` reads it.

        Raises
        ------
        FileExistsError : unless overwrite.
        """
        return write_network(path, self.describe(), overwrite)

    def connection(self, index: int) -> Linear:
        """The Linear at an index."""
        layer = self.layers[index]
        assert isinstance(layer, Linear)
        return layer

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Linear | LIF]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Linear | LIF:
        return self.layers[index]

    def _checked_times(self, x: Any) -> Doubles:
        times = checks.as_floats("EventSequential", "x", x, "spike times in ms")
        n_in = self.connection(0).in_features
        if times.ndim != 3 or times.shape[2] != n_in or 0 in times.shape:
            raise ValueError(
                f"EventSequential: x has shape {times.shape}; it must be (K, B, {n_in}), the times of K spikes of each"
            )
        good = (times >= 0.0) & ((times <= self.duration) | np.isposinf(times))
        if not good.all():
            bad = checks.first_bad(times, good, "x")
            raise ValueError(f"EventSequential: {bad} ms; times must be in [0, {self.duration:g}] ms, or inf for none")
        return times

    def _run(self, given: Spikes, weights: list[F4], output: Doubles) -> list[Spikes]:
        """The spikes of some samples in the input and in all layers that spike; writes output (B, outputs)."""
        spikes = [given]
        for place, weight in enumerate(weights):
            if self.output == "mean_v" and place == len(weights) - 1:
                neurons = self._neurons[place]
                output[:] = neurons.v_leak
                kernels.mean_potential(neurons, weight, self.duration, *spikes[-1][:3], output)
                return spikes
            spikes.append(self._run_layer(place, spikes[-1], weight))
        first, key = spikes[-1].first(output.shape[1])
        output[:] = self.duration
        output.flat[key] = spikes[-1].time[first]
        return spikes

    def _run_layer(self, place: int, given: Spikes, weight: F4) -> Spikes:
        neurons = self._neurons[place]
        n_samples, n = len(given.start) - 1, weight.shape[1]
        start = np.zeros(n_samples + 1, np.int64)
        state = np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(n)
        made: list[Any] = [np.empty(0), np.empty(0, np.uint32), np.empty(0)]
        done = 0
        while done < n_samples:
            room = 2 * made[0].size + n * n_samples
            if room > MOST_SPIKES * n * n_samples:
                raise RuntimeError(
                    f"layer {2 * place + 1} (LIF): its neurons spike thousands of times each in {self.duration:g} ms; "
                    "lower the weights before it, or the learning rate"
                )
            made = [np.concatenate((each[: start[done]], np.empty(room - start[done], each.dtype))) for each in made]
            done = kernels.run_layer(neurons, weight, self.duration, *given[:3], done, *state, start, *made)
        sample = np.repeat(np.arange(n_samples), np.diff(start))
        order = np.lexsort((made[0][: start[-1]], sample))
        return Spikes(start, *(each[order] for each in made))


class EventBackward:
    """The gradients of one forward run."""

    def __init__(self, net: EventSequential, weights: list[F4], kept: list[list[Spikes]]) -> None:
        self._net, self._weights, self._kept = net, weights, kept

    @property
    def nbytes(self) -> int:
        """Bytes of all spikes that are kept."""
        return sum(spikes.nbytes for group in self._kept for spikes in group)

    def spikes(self, layer: int) -> list[tuple[NDArray[np.uint32], Doubles]]:
        """For each sample the ids and times (ms) of a LIF layer's spikes, in order of time; layer -1 is the input."""
        made = []
        for group in self._kept:
            start, time, unit, _ = group[self._place(layer)]
            made += [(unit[a:b], time[a:b]) for a, b in pairwise(start)]
        return made

    def frames(self, layer: int) -> F4:
        """The spikes in a ms of each neuron of a LIF layer, (1, B, n): one frame, the mean over the duration.

        Neurons whose mean potential is the output do not spike.
        """
        if self._net.output == "mean_v" and layer == len(self._net) - 1:
            return np.zeros((1, self._n_samples, self._weights[-1].shape[1]), np.float32)
        place = self._place(layer, first=1)
        counts = np.concatenate([group[place].counts(self._weights[place - 1].shape[1]) for group in self._kept])
        return (counts[np.newaxis] / self._net.duration).astype(np.float32)

    def rates(self) -> dict[int, Doubles]:
        """The spikes in a ms of each neuron, (n,), the mean over the samples, for each layer that spikes."""
        spiking = range(1, 2 * len(self._kept[0]) - 1, 2)
        return {layer: self.frames(layer).mean(axis=(0, 1), dtype=np.float64) for layer in spiking}

    def __call__(self, output_gradient: Any, layers: Mapping[int, Any] | None = None) -> dict[str, F4]:
        """The gradients of all weights, where that of the output is given (1, B, outputs).

        They are exact where spikes change their times. That spikes come or go is no matter of gradients: the time of a
        neuron that does not spike has none.

        Parameters
        ----------
        output_gradient : of what the network gives.
        layers : of what `frames` gives, by the layers' indices: from penalties on their activity. A number of spikes
            has no gradient; here it is taken for that of neurons without leak, which grows by
            r_mem tau_syn / (tau_mem (v_threshold - v_reset)) with each unit of weight that arrives. So silent neurons
            learn too. It ends at the layer's own weights.

        Raises
        ------
        ValueError : gradients of another shape, a layer without spikes.
        """
        weights, shape = self._weights, (1, self._n_samples, self._weights[-1].shape[1])
        given = np.ascontiguousarray(output_gradient, np.float64)
        if given.shape != shape:
            raise ValueError(f"EventBackward: the gradient of the output has shape {given.shape}; it must be {shape}")
        sums = [np.zeros((len(self._kept), *weight.shape), np.float32) for weight in weights]

        edges = group_edges(self._n_samples)

        def work(low: int, high: int) -> None:
            for group in range(low, high):
                part = slice(*edges[group : group + 2])
                self._through(self._kept[group], given[0, part], [each[group] for each in sums])

        share_groups(self._net.threads, edges, work)
        totals = [each.sum(axis=0) for each in sums]
        for layer, gradient in (layers or {}).items():
            penalty = self._penalty(layer, np.asarray(gradient, np.float64))
            totals[layer // 2] += penalty
        return {f"{2 * k}.weight": np.ascontiguousarray(total.T) for k, total in enumerate(totals)}

    @property
    def _n_samples(self) -> int:
        return sum(len(group[0].start) - 1 for group in self._kept)

    def _place(self, layer: int, first: int = -1) -> int:
        """Where the spikes of a layer, from the `first` on, are among those of a group: 0 is the input."""
        known = range(first, 2 * len(self._kept[0]) - 1, 2)
        if layer not in known:
            names = ", ".join(map(str, known))
            raise ValueError(f"EventBackward: layer {layer} has no spikes to tell of; those that do are {names}")
        return (layer + 1) // 2

    def _through(self, spikes: list[Spikes], given: Doubles, sums: list[F4]) -> None:
        """Add the weights' gradients of some samples to sums."""
        net, weights = self._net, self._weights
        last = len(weights) - 1
        if net.output == "mean_v":
            own = np.zeros(spikes[last].time.size if last else 0)
            kernels.through_mean(
                net._neurons[last], weights[last], net.duration, *spikes[last][:3], given, own, sums[last]
            )
            last -= 1
        else:
            place, key = spikes[-1].first(given.shape[1])
            own = np.zeros(spikes[-1].time.size)
            own[place] = given.flat[key]
        for k in range(last, -1, -1):
            arriving = np.zeros(spikes[k].time.size if k else 0)
            n = weights[k].shape[1]
            kernels.through_layer(
                net._neurons[k], weights[k], *spikes[k][:3], *spikes[k + 1], own, np.empty(n), np.empty(n),
                arriving, sums[k],
            )  # fmt: skip
            own = arriving

    def _penalty(self, layer: int, gradient: Doubles) -> Doubles:
        """The gradient (sources, targets) of a layer's weights from that of its frames (1, B, targets)."""
        place = self._place(layer, first=1) - 1
        neurons, (n_in, n_out) = self._net._neurons[place], self._weights[place].shape
        if gradient.shape != (1, self._n_samples, n_out):
            raise ValueError(
                f"EventBackward: the gradient of layer {layer} has shape {gradient.shape}; "
                f"it must be {(1, self._n_samples, n_out)}"
            )
        arrived = np.concatenate([group[place].counts(n_in) for group in self._kept])
        grows = neurons.r_mem * neurons.tau_syn / (neurons.tau_mem * (neurons.threshold - neurons.reset))
        share: Doubles = arrived.T.astype(np.float64) @ gradient[0] * (grows / self._net.duration)
        return share


@forward.register
def _(
    net: EventSequential, x: Any, input_gradient: bool = False, checkpoint_every: int | None = None
) -> tuple[Any, Any]:
    if input_gradient:
        raise NotImplementedError("forward: an EventSequential has gradients of its weights, not of its input's times")
    if checkpoint_every is not None:
        raise NotImplementedError("forward: an EventSequential has no steps, and so nothing for checkpoint_every")
    return net.forward(x)


def _checked_linear(index: int, layer: Any, width: int | None) -> int:
    """Its number of outputs."""
    owner = f"layer {index} ({type(layer).__name__})"
    if not isinstance(layer, Linear):
        raise TypeError(f"{owner}: it is {layer!r}; it must be a Linear")
    if layer.bias is not None or layer._wants_bias:
        raise ValueError(f"{owner}: it has a bias; make it with bias=False, and an input that always spikes")
    if width is not None and layer.in_features != width:
        raise ValueError(f"{owner}: it takes {layer.in_features} inputs; the neurons before it are {width}")
    return layer.out_features


def _constants(index: int, lif: Any) -> kernels.Constants:
    """Of a LIF, v counted from v_leak."""
    owner = f"layer {index} ({type(lif).__name__})"
    if not isinstance(lif, LIF):
        raise TypeError(f"{owner}: it is {lif!r}; it must be an evsim.LIF")
    if lif.tau_syn is None or isinstance(lif.tau_syn, tuple | Mapping):
        raise ValueError(f"{owner}: tau_syn is {lif.tau_syn!r}; it must be one time constant in ms")
    for name, allowed in FIXED.items():
        if np.any(getattr(lif, name) != allowed):
            raise ValueError(f"{owner}: {name} is {getattr(lif, name)!r}; in continuous time it must be {allowed:g}")
    tau_mem, tau_syn, r_mem = (
        checks.number(owner, name, getattr(lif, name), 0.0, inclusive=False) for name in ("tau_mem", "tau_syn", "r_mem")
    )
    v_leak, v_threshold = (checks.number(owner, name, getattr(lif, name)) for name in ("v_leak", "v_threshold"))
    v_reset = v_leak if lif.v_reset is None else checks.number(owner, "v_reset", lif.v_reset)
    if v_threshold <= max(v_reset, v_leak):
        raise ValueError(f"{owner}: v_threshold is {v_threshold:g}; it must be above v_leak and v_reset")
    return kernels.Constants(tau_mem, tau_syn, r_mem, v_threshold - v_leak, v_reset - v_leak, v_leak)
