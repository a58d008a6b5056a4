"""`Sequential`: layers and neurons one behind the other, fed with batches."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim import checks
from evsim.backend import choose_batch_backend
from evsim.batch_build import BatchBuilt, Node, build_batch, owner, update_weights
from evsim.batch_engine import BatchEngine
from evsim.batch_input import BatchInput
from evsim.buffers import Buffers
from evsim.io.layer_file import create_layer_file
from evsim.io.network_file import write_network
from evsim.layer_description import describe_layers
from evsim.layer_network import add_layers
from evsim.layer_record import LayerRecord
from evsim.layer_summary import summarise
from evsim.layer_values import as_array, as_seen, checked_input
from evsim.layers import Connection, Flatten, Layer, Linear, Recurrent
from evsim.network import Network, Population, Slice
from evsim.neurons import NeuronModel
from evsim.step_neurons import StepNeuron

__all__ = ["Sequential"]

Shape = tuple[int, ...]

VARIABLES = {"spikes": bm.SPIKES, "v": bm.V, "v_pre_reset": bm.V_PRE_RESET, "i": bm.CURRENT}


class Sequential:
    """Layers and neurons one behind the other.

        net = evsim.Sequential(evsim.Linear(784, 10, bias=False), evsim.spikingjelly.LIFNode(tau=2.0))
        spikes = net(x)      # x (T, B, 784): spikes (0, 1, 2, ...) or analog values; result (T, B, 10)

    All layers take a spike in the step in which it is emitted. A neuron layer gives spike counts, a connection that
    no neurons follow gives its weighted sums, as float32. The state is kept from call to call until `reset`.

    A step in which all inputs are whole numbers in [0, 65535] is taken as spikes: fixed-point weights are added, and
    the result is the same, bit for bit, for any batch, number of threads and backend. Weights are rounded by less than
    1e-5 of their layer's mean |weight|, or by less than 2^-31 of the largest sum that their layer can reach, whichever
    is larger.

    Parameters
    ----------
    *layers : layers of `evsim.layers`, and neuron models.
    dt : float
        A step, ms; for neurons with constants in ms (evsim.LIF, evsim.IAF).
    seed : int
        Of weights that are not given, in [0, 2^64).
    threads : int, optional
        CPU threads, by default all cores; one takes one sample at a time. It changes the speed, never a result.
    backend : {"auto", "cpu", "cuda"}
        Where it runs; neither does this change a result. "auto" takes the GPU where there is one, and says so on
        stderr; elsewhere the CPU. The attribute `backend` says what was taken.

    Raises
    ------
    ImportError, RuntimeError : backend is "cuda" and no GPU can be used; names the remedy.
    """

    def __init__(
        self,
        *layers: Layer | NeuronModel,
        dt: float = 1.0,
        seed: int = 0,
        threads: int | None = None,
        backend: str = "auto",
    ) -> None:
        self.dt = checks.number("Sequential", "dt", dt, 0.0, inclusive=False, unit="ms")
        self.seed = checks.size("Sequential", "seed", seed, high=2**64 - 1)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = checks.size("Sequential", "threads", cores if threads is None else threads, 1, 1024)
        for index, layer in enumerate(layers):
            if not isinstance(layer, Layer | NeuronModel):
                raise TypeError(f"{owner(index, layer)}: it is {layer!r}; it must be a layer or a neuron model")
        self.layers = list(layers)
        self.backend = choose_batch_backend(backend)
        self.buffers = Buffers()  # of training, whose arrays are as large in every batch
        self._records: list[LayerRecord] = []
        self._built: BatchBuilt | None = None
        self._engine: Any = None
        self._shape: Shape = ()
        self._versions: list[tuple[int, int]] = []
        self._fixed: list[tuple[int, bool]] = []
        self._draw_weights()
        self.reset()

    def __call__(self, x: Any) -> NDArray[np.float32]:
        """Run T steps.

        Parameters
        ----------
        x : array (T, B, ...), or an input of `evsim.encoders`.

        Returns
        -------
        (T, B, ...) float32 : what the last layer gives in each step.

        Raises
        ------
        ValueError : a wrong shape, another number or shape of samples than since the last reset, a value that is
            not finite.
        RuntimeError : a neuron spikes too often in a step.

        What stops a run on its way resets the state.
        """
        given = checked_input(x)
        built, engine, state = self.begin(given.shape[1], given.shape[2:])
        last = len(built.nodes) - 1
        asked = [
            (record, variable, self._node(built, record.layer))
            for record in self._records
            for variable in record.variables
        ]
        requests = [(last, bm.SPIKES)]
        requests += [(k, self._code(built.nodes[k], variable)) for _, variable, k in asked]
        for record, _, k in asked:
            record.expect((given.shape[1], *built.nodes[k].shape))
        try:
            output, *recorded = engine.run(state, given, requests)
        except BaseException:
            self.reset()  # samples have come to steps of their own
            raise
        for (record, variable, k), values in zip(asked, recorded, strict=True):
            node = built.nodes[k]
            scale = node.neurons.v_scale() if node.neurons is not None and variable == "v" else 1.0
            record.append(variable, as_seen(node, values, scale * node.scale))
        return as_seen(built.nodes[last], output, built.nodes[last].scale).reshape(*given.shape[:2], *built.shape)

    def step(self, x: Any) -> NDArray[np.float32]:
        """Run one step: x (B, ...) to (B, ...)."""
        if isinstance(x, BatchInput):
            raise TypeError(f"step: x is a {type(x).__name__} of {len(x)} steps; call the network with it")
        result: NDArray[np.float32] = self(as_array(x)[np.newaxis])[0]
        return result

    def reset(self) -> None:
        """Forget the state: the next call starts anew, with any number and shape of samples."""
        self._state: bm.BatchState | None = None

    def record(self, layer: int | Layer | NeuronModel, *variables: str, file: str | Path | None = None) -> LayerRecord:
        """Record variables of a neuron layer in all calls from now on.

        Parameters
        ----------
        layer : its index, or the layer itself.
        *variables : of "spikes", "v" (after the reset), "v_pre_reset" and "i" (the synaptic current). A layer without
            neurons has "spikes" only: its output.
        file : path, optional
            An HDF5 file that the frames are streamed to, as <layer>/<variable> (T, B, ...); else they are kept.

        Returns
        -------
        An object with an attribute for each variable: (T, B, ...) float32, all calls one after another.
        """
        index = self._index(layer)
        name = f"{index}_{type(self.layers[index]).__name__}"
        neurons = isinstance(self.layers[index], NeuronModel | Recurrent)
        known = list(VARIABLES) if neurons else ["spikes"]
        variables = tuple(dict.fromkeys(variables))
        for variable in variables:
            if variable not in known:
                raise checks.nearest(owner(index, self.layers[index]), "variable", variable, known)
        if not variables:
            raise ValueError(f"record: no variable is given; give one or more of {', '.join(known)}")
        following = [each for each in self.layers[index + 1 :] if not isinstance(each, Flatten)]
        behind = next(iter(following), None)
        if isinstance(self.layers[index], Flatten) or (
            isinstance(self.layers[index], Connection) and isinstance(behind, NeuronModel | Recurrent)
        ):
            raise ValueError(
                f"{owner(index, self.layers[index])}: it has no values of its own to record; "
                "record the neurons behind it"
            )
        path = None if file is None else Path(file)
        for other in self._records:
            if path is not None and (other.file, other.layer) == (path, index):
                raise ValueError(f"{owner(index, self.layers[index])}: it is recorded in {path} already")
        if path is not None and path not in [record.file for record in self._records]:
            create_layer_file(path, self.dt)
        record = LayerRecord(index, name, variables, path)
        self._records.append(record)
        return record

    def stop_recording(self) -> None:
        """Record nothing from now on."""
        self._records = []

    def summary(self, shape: Shape | None = None) -> str:
        """A table of all layers: output shape, neurons, synapses, bytes of weights and of a sample's state.

        Parameters
        ----------
        shape : of a sample; left out, that of the last call, or what a Linear as the first layer takes.
        """
        return summarise(self.layers, self.compile_for("summary", shape)[1])

    def compile_for(self, caller: str, shape: Sequence[int] | None) -> tuple[Shape, BatchBuilt]:
        """Compile for samples of `shape`; left out, that of the last call, or what a Linear as the first layer takes.

        Returns the shape as well; `caller` is named where it is missing or wrong.
        """
        if shape is None and self._built is not None:
            shape = self._shape
        first = next(iter(self.layers), None)
        if shape is None and isinstance(first, Linear):
            shape = (first.in_features,)
        if shape is None:
            raise ValueError(f"{caller}: the shape of a sample is not known yet; give shape=, such as (1, 28, 28)")
        if not isinstance(shape, tuple | list):
            raise TypeError(f"{caller}: shape is {shape!r}; it must be that of a sample, such as (784,) or (1, 28, 28)")
        sizes = tuple(checks.size(caller, f"shape[{axis}]", n, 1) for axis, n in enumerate(shape))
        return sizes, self._build(sizes)

    def add_to(
        self, network: Network, name: str, source: Population | Slice, shape: Shape | None = None
    ) -> list[Population]:
        """Make the layers part of a larger network, behind `source`, by projections without delay.

        Each neuron layer becomes a population `<name>.<index>` whose neurons are the units of its shape in C order;
        weights are copied, those of a convolution once for all synapses that share them. So these projections cannot
        learn. The spikes are those of this Sequential for the same input, bit for bit; parameters that are
        distributions have its values.

        Parameters
        ----------
        network : with the same dt, where neurons have constants in ms.
        name : begins the names of the populations.
        source : what enters the first layer: spike sources or neurons.
        shape : of a sample, by default (len(source),).

        Returns
        -------
        The populations of the neuron layers; a last layer without neurons has one too, whose v is the output.

        Raises
        ------
        ValueError : shapes that do not fit; a connection or pool that sums enter rather than spikes; a MaxPool2d
            behind neurons of several spikes a step, or behind a pool that sums.
        """
        in_ms = [layer for layer in self.layers if isinstance(layer, NeuronModel) and not isinstance(layer, StepNeuron)]
        if in_ms and network.dt != self.dt:
            raise ValueError(
                f"{name}: the network's dt is {network.dt:g} ms, the layers' {self.dt:g} ms; both must agree"
            )
        shape = (len(source),) if shape is None else tuple(shape)
        self._build(shape)
        return add_layers(network, name, self.layers, shape, source, self.seed)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """All weights, biases and learned parameters of neurons, by PyTorch's names: "0.weight", "0.bias", ..."""
        made = {}
        for index, layer in enumerate(self.layers):
            name, connection = (
                (f"{index}.connection", layer.connection) if isinstance(layer, Recurrent) else (f"{index}", layer)
            )
            if isinstance(connection, Connection):
                made[f"{name}.weight"] = connection.weight
                if connection.bias is not None:
                    made[f"{name}.bias"] = connection.bias
            neurons = layer.neurons if isinstance(layer, Recurrent) else layer
            if isinstance(neurons, NeuronModel):
                made.update({f"{index}.{each}": value for each, value in neurons.learned().items()})
        return made

    def load_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set weights, biases and learned parameters by the names of `parameters`; others stay.

        Raises
        ------
        KeyError : an unknown name. ValueError : a wrong shape.
        """
        known = self.parameters()
        learned: dict[int, dict[str, Any]] = {}
        for name, value in parameters.items():
            if name not in known:
                raise checks.nearest("Sequential", "parameter", name, list(known))
            index, *_, attribute = name.split(".")
            layer = self.layers[int(index)]
            connection = layer.connection if isinstance(layer, Recurrent) else layer
            if isinstance(connection, Connection) and attribute in ("weight", "bias"):
                setattr(connection, attribute, value)
            else:
                learned.setdefault(int(index), {})[attribute] = value
        for place, values in learned.items():
            layer = self.layers[place]
            if isinstance(layer, Recurrent):
                layer.neurons = layer.neurons.with_learned(values)
            elif isinstance(layer, NeuronModel):
                self.layers[place] = layer.with_learned(values)

    def versions(self) -> list[tuple[int, int]]:
        """What differs after any change of weights or neurons."""
        made = []
        for layer in self.layers:
            connection, neurons = (layer.connection, layer.neurons) if isinstance(layer, Recurrent) else (layer, layer)
            made.append((connection.version if isinstance(connection, Connection) else 0, id(neurons)))
        return made

    def describe(self) -> dict[str, Any]:
        """Layers with all their parameters, dt and seed: what `save` writes.

        Raises
        ------
        ValueError : a layer that a file cannot hold, such as one with a surrogate made from a function.
        """
        return {"dt": self.dt, "seed": self.seed, "layers": describe_layers(self.layers)}

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the network to an HDF5 file, exactly; `evsim.load_network` reads it. The state is not kept.

        Raises
        ------
        FileExistsError : unless overwrite. ValueError : as in `describe`.
        """
        return write_network(path, self.describe(), overwrite)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer | NeuronModel]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Layer | NeuronModel:
        return self.layers[index]

    def _draw_weights(self) -> None:
        """Draw what weights were not given, each layer's from a generator of its own."""
        for index, layer in enumerate(self.layers):
            connection = layer.connection if isinstance(layer, Recurrent) else layer
            if isinstance(connection, Connection):
                connection.draw(np.random.Generator(np.random.Philox(key=[self.seed, index])))

    def _build(self, shape: Shape) -> BatchBuilt:
        at = shape
        for index, layer in enumerate(self.layers):  # which makes the connections of Recurrent layers
            at = layer.output_shape(owner(index, layer), at) if isinstance(layer, Layer) else at
        self._draw_weights()
        return build_batch(self.layers, shape, self.dt, self.seed)

    def begin(self, n_samples: int, shape: Shape) -> tuple[BatchBuilt, Any, bm.BatchState]:
        """What a call with so many samples of this shape runs on."""
        if self._state is not None and (self._state.v.shape[0], self._shape) != (n_samples, shape):
            raise ValueError(
                f"Sequential: the input has {n_samples} samples of shape {shape}, the state is of "
                f"{self._state.v.shape[0]} of shape {self._shape}; call reset() first"
            )
        if self._built is None or self._shape != shape or self._versions != self.versions():
            self._built = self._compile(shape)
        if self._state is None:
            self._state = self._engine.new_state(n_samples)
        return self._built, self._engine, self._state

    def _compile(self, shape: Shape) -> BatchBuilt:
        """Make what runs samples of this shape; where only weights have changed, no more than they."""
        before = self._built if self._shape == shape else None
        if before is not None and self._fixed == self._fixed_parts():
            built = before
            update_weights(built, self.layers)
        else:
            built, self._shape, self._fixed = self._build(shape), shape, self._fixed_parts()
        self._versions = self.versions()
        if before is not None:
            self._engine.use(built)
        else:
            self._engine = _make_engine(self.backend, built, self.threads)
        return built

    def _fixed_parts(self) -> list[tuple[int, bool]]:
        """What stays the same when only the values of weights and biases change."""
        connections = [layer.connection if isinstance(layer, Recurrent) else layer for layer in self.layers]
        has_bias = [getattr(connection, "bias", None) is not None for connection in connections]
        return list(zip((neurons for _, neurons in self.versions()), has_bias, strict=True))

    def _index(self, layer: int | Layer | NeuronModel) -> int:
        if isinstance(layer, int | np.integer):
            if not -len(self.layers) <= layer < len(self.layers):
                raise IndexError(f"Sequential: layer {layer} is outside [0, {len(self.layers)})")
            return int(layer) % len(self.layers)
        found = [index for index, each in enumerate(self.layers) if each is layer]
        if len(found) != 1:
            raise ValueError(f"Sequential: {layer!r} is {len(found)} times among its layers; give its index")
        return found[0]

    def _node(self, built: BatchBuilt, layer: int) -> int:
        return next(k for k, node in enumerate(built.nodes) if node.layer == layer)

    def _code(self, node: Node, variable: str) -> int:
        if variable == "i" and node.row[bm.FILTERED] != 1:
            raise ValueError(f"{node.label}: it has no synaptic current to record; its input acts on v at once")
        if variable == "v" and node.neurons is not None:
            return VARIABLES[node.neurons.v_recorded]
        return VARIABLES[variable]


def _make_engine(backend: str, built: BatchBuilt, threads: int) -> Any:
    if backend == "cpu":
        return BatchEngine(built, threads)
    from evsim.cuda_kernels.batch_engine import CudaBatchEngine

    return CudaBatchEngine(built)
