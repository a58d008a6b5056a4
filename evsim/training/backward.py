"""Backpropagation through time over a `Sequential`: forward keeps spikes and potentials, backward gives gradients.

    output, backward = evsim.training.forward(net, x)     # output (T, B, ...)
    gradients = backward(output_gradient)                  # {"0.weight": ..., "0.bias": ...}

Gradients of weights are sums over spikes: a source that is silent costs nothing. Gradients of hidden layers are dense.
Names are those of PyTorch's state dicts: the index of the layer and the attribute.
"""

from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim import checks
from evsim.batch_build import BatchBuilt
from evsim.batch_input import PoissonInput
from evsim.layer_values import as_seen, checked_input
from evsim.sequential import Sequential
from evsim.training.backward_pass import BackwardPass
from evsim.training.record import Record

F4 = NDArray[np.float32]


@singledispatch
def forward(
    net: Any, x: Any, input_gradient: bool = False, checkpoint_every: int | None = None
) -> tuple[F4, "Backward"]:
    """Run a batch, keeping what the gradients need, where the network runs: 5 bytes for each neuron, step and sample.

    The network keeps this memory for the next batch, once nothing refers to what was in it.

    On a GPU gradients are computed there, in sums whose order is always the same; they are the CPU's to rounding.

    With `checkpoint_every` only the states before every so many steps are kept, and the input as spikes; backward runs
    these steps again, from the last to the first. The gradients are the same, bit for bit, and memory does not grow
    with the number of steps, beyond that.

    Parameters
    ----------
    net : a Sequential, reset before, unless its state is to go on; or an EventSequential.
    x : array (T, B, ...), or an input of `evsim.encoders`.
    input_gradient : whether the gradient of x is wanted too.
    checkpoint_every : steps from one kept state to the next, rounded up to a multiple of 16; None keeps all steps.

    Returns
    -------
    output : (T, B, ...) float32, as net(x).
    backward : a function of the gradient of the output, which returns those of all weights, by name.

    Raises
    ------
    NotImplementedError : neurons that cannot be trained (refractory times, thresholds that adapt); on a GPU, a
        surrogate that cannot be compiled for it.
    MemoryError : what would be kept does not fit into the GPU's memory.
    """
    if checkpoint_every is not None:
        checks.size("forward", "checkpoint_every", checkpoint_every, 1)
    given = checked_input(x)
    if isinstance(given, PoissonInput) and net.backend == "cpu":  # a GPU draws them again on the way back
        given = given.drawn(net.buffers) if checkpoint_every is None else given.events(net.threads)
    built, engine, state = net.begin(given.shape[1], given.shape[2:])
    for node in built.nodes:
        if node.row[bm.REFRACTORY] == 1 or node.row[bm.THETA_AT] >= 0:
            raise NotImplementedError(
                f"{node.label}: neurons with a refractory time or an adaptive threshold cannot be trained"
            )
    record_of, pass_of = _choose(net.backend, built)
    try:
        record = record_of(built, engine, state, given, checkpoint_every, net.buffers)
    except BaseException:
        net.reset()  # samples have come to steps of their own
        raise
    last = built.nodes[-1]
    output = as_seen(last, record.output, last.scale).reshape(*given.shape[:2], *built.shape)
    return output, Backward(net, built, given.shape, record, pass_of, input_gradient)


def _choose(backend: str, built: BatchBuilt) -> tuple[Any, Any]:
    """What keeps a run and what goes back through it, on a backend; raises where the backend cannot go back."""
    if backend == "cpu":
        return Record, BackwardPass
    from evsim.cuda_kernels.backward_neurons import check_surrogate
    from evsim.cuda_kernels.backward_pass import CudaBackwardPass, CudaRecord

    for node in built.nodes:
        if node.neurons is not None and node.row[bm.SPIKING] == 1:
            check_surrogate(node.label, node.neurons.surrogate)
    return CudaRecord, CudaBackwardPass


class Backward:
    """The gradients of one forward run."""

    def __init__(
        self, net: Sequential, built: BatchBuilt, shape: tuple[int, ...], record: Record, way: Any, input_gradient: bool
    ) -> None:
        self._net, self._built, self._shape, self._record, self._way = net, built, shape, record, way
        self._versions = net.versions()
        self._wants_input = input_gradient

    def frames(self, layer: int) -> F4:
        """What a layer gave, (T, B, ...) float32, as in a record of its spikes; not with checkpoints."""
        if not self._record.is_whole:
            raise ValueError("frames: with checkpoint_every the frames are not kept; rates() has what spiked how often")
        k = next(k for k, node in enumerate(self._built.nodes) if node.layer == layer)
        node = self._built.nodes[k]
        return as_seen(node, np.asarray(self._record.frames(k), np.float32), node.scale)

    def rates(self) -> dict[int, NDArray[np.float64]]:
        """The mean spikes in a step of each neuron, over all samples, by layer: (...) of a sample's shape."""
        n_steps, n_samples = self._shape[:2]
        made = {}
        for k, n_spikes in self._record.n_spikes.items():
            node = self._built.nodes[k]
            rate = np.empty(node.size)
            rate[node.order] = n_spikes / (n_steps * n_samples)
            made[node.layer] = rate.reshape(node.shape)
        return made

    def __call__(self, output_gradient: Any, layers: dict[int, Any] | None = None) -> dict[str, F4]:
        """The gradients, where that of the output is given (T, B, ...).

        Parameters
        ----------
        output_gradient : of what the last layer gives.
        layers : of what other layers give, by their index: from penalties on their activity, for example.

        Raises
        ------
        RuntimeError : the network's weights or neurons have changed since.
        """
        if self._net.versions() != self._versions:
            raise RuntimeError(
                "backward: the network's weights have changed since forward; call backward before they do, or forward "
                "again"
            )
        output_gradient = np.asarray(output_gradient)
        inputs = []
        way = self._way(self._net, self._built, self._shape[1], self._wants_input)
        for chunk in self._record.chunks_backwards():
            part = slice(chunk.first, chunk.stop)
            extra = {layer: np.asarray(gradient)[part] for layer, gradient in (layers or {}).items()}
            of_input = way.through(chunk, output_gradient[part], extra)
            if self._wants_input:
                inputs.append(of_input)
        gradients = way.gradients()
        if self._wants_input:
            gradients["x"] = np.concatenate(inputs[::-1]).reshape(self._shape)
        return gradients
