"""Network -> Model + State: lay out, check memory, then allocate and fill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.aligned import aligned_zeros
from evsim.coefficients import CoefficientPool, list_coefficients, resolve, resolve_parameters
from evsim.cpu_maker import CpuMaker
from evsim.layout import Layout, lay_out
from evsim.memory import Memory, estimate_memory
from evsim.model import DECAY, I4, I8, Model, State
from evsim.network import Network, SpikeSource
from evsim.neurons import Coefficients
from evsim.plastic import Learning, build_learning
from evsim.stimuli import current_arrays, poisson_arrays, train_arrays
from evsim.synapses import Maker, build_synapses

__all__ = ["Built", "build"]


@dataclass(frozen=True)
class Built:
    """A network compiled for a number of threads."""

    model: Model
    state: State
    layout: Layout
    memory: Memory
    n_synapses: NDArray[np.int64]  # per projection, in the order of the network
    learning: list[Learning]  # of each thread; empty where nothing is plastic


def build(
    network: Network,
    n_threads: int,
    progress: Callable[[int], None],
    maker_type: Callable[[Network, Layout], Maker] = CpuMaker,
) -> Built:
    """Compile `network` into flat arrays.

    Parameters
    ----------
    n_threads : threads that neurons and synapses are divided among.
    progress : called with the number of synapses just made.
    maker_type : CpuMaker, or CudaMaker for a network of one thread whose synapses are to lie on the GPU.

    Raises
    ------
    MemoryError : the network does not fit; names the population or projection that takes most.
    ValueError : the network is empty, projections of delay 0 form a cycle, or a delay is too long to store.
    """
    layout = lay_out(network, n_threads)
    maker = maker_type(network, layout)
    available = maker.available_memory()
    memory = estimate_memory(network, layout, maker.scratch_bytes())
    memory.check(available)
    key = np.array([network.seed & 0xFFFFFFFF, network.seed >> 32], np.int64)
    synapse_fields, n_synapses, wide = build_synapses(network, layout, key, maker, progress)
    if wide:
        memory = estimate_memory(network, layout, maker.scratch_bytes(), ring_bytes=8)
        memory.check(available)
    coefficient_fields, current_gain, initial_v = _neurons(layout, network.dt, key)
    model = Model(
        population_start=layout.population_start,
        population_size=np.array([p.size for p in layout.populations], np.int64),
        population_input=layout.population_input,
        population_n_receptors=layout.n_receptors,
        population_stage=layout.stage,
        population_multi_spike=np.array([p.multi_spike for p in layout.populations], np.uint8),
        slice_start=layout.slice_start,
        slice_stop=layout.slice_stop,
        **coefficient_fields,
        **synapse_fields,
        **poisson_arrays(network, layout, synapse_fields["input_unit"]),
        **current_arrays(network, layout, current_gain),
        **train_arrays(layout),
        neuron_recorded=np.zeros(layout.n_neurons, np.uint8),
        probe_start=np.zeros(1, np.int64),
        probe_variable=np.zeros(0, np.int64),
        probe_population=np.zeros(0, np.int64),
        probe_every=np.zeros(0, np.int64),
        probe_neuron=np.zeros(0, np.int64),
        scalars=np.array(
            [
                n_threads,
                layout.window,
                layout.target_bits,
                (layout.ring_slots << layout.target_bits) - 1,
                *key,
                layout.n_stages,
            ],
            np.int64,
        ),
    )
    ring_size = layout.ring_slots << layout.target_bits
    ring: I4 | I8 = aligned_zeros(ring_size, np.int64 if wide else np.int32)
    state = State(
        neuron_v=initial_v,
        neuron_refractory=aligned_zeros(layout.n_neurons, np.int32),
        neuron_theta=aligned_zeros(
            layout.n_neurons if coefficient_fields["population_theta"][:, 0].any() else 0, np.float64
        ),
        neuron_spikes=np.zeros(layout.n_neurons, np.int64),
        learning=np.ones(1, np.uint8),
        input_current=aligned_zeros(layout.n_inputs, np.float32),
        ring=ring,
        window_spike=np.zeros((2, layout.window, int(layout.thread_spikes.sum())), np.uint32),
        window_count=np.zeros((2, layout.window, n_threads * 8), np.int64),
        spike_offset=np.cumsum(np.concatenate([[0], layout.thread_spikes])),
        record_neuron=np.zeros((n_threads, 0), np.uint32),
        record_per_step=np.zeros((n_threads, 0), np.int64),
        record_step=np.zeros((1, 0), np.int64),
        record_count=np.zeros((2, n_threads * 8), np.int64),
        frame_value=np.zeros(0, np.float32),
        frame_start=np.zeros(0, np.int64),
        population_spikes=np.zeros((n_threads, len(layout.populations)), np.int64),
        thread_total=np.zeros((n_threads, 8), np.uint64),
        barrier=np.zeros(1, np.uint64),
    )
    return Built(model, state, layout, memory, n_synapses, build_learning(network, layout, model))


def _neurons(
    layout: Layout, dt: float, key: NDArray[np.int64]
) -> tuple[dict[str, Any], list[Any], NDArray[np.float32]]:
    """The coefficient fields of Model, each population's current gain, and the initial v of all neurons."""
    pool = CoefficientPool(layout.block)
    shape = (len(layout.populations), DECAY + 4 * max(int(layout.n_receptors.max()), 1))
    start, step = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    soft, theta = np.zeros(shape[0], np.uint8), np.tile([0.0, 1.0, 0.0], (shape[0], 1))
    gains: list[Any] = []
    initial_v = aligned_zeros(layout.n_neurons, np.float32)
    for p, population in enumerate(layout.populations):
        model = population.model
        if isinstance(model, SpikeSource):
            gains.append(0.0)
            continue
        values = resolve_parameters(model, population.size, p, key)
        c = model.coefficients(values, dt)
        _check(f"population {population.name!r}", c)
        for j, coefficient in enumerate(list_coefficients(model, c)):
            start[p, j], step[p, j] = pool.add(coefficient)
        for k, receptor in enumerate(model.receptors()):
            if receptor not in model.currents():
                start[p, DECAY + 4 * k] = -1  # a delta synapse has no current
        soft[p], theta[p] = c.soft_reset, (c.theta_plus, c.theta_decay, c.theta_resets and c.soft_reset)
        gains.append(c.current_gain)
        v = model.resting_v(values) if population.initial_v is None else population.initial_v
        first = int(layout.population_start[p])
        initial_v[first : first + population.size] = resolve(v, population.size, p, 0, key)
    fields = {
        "population_soft_reset": soft,
        "population_one_winner": np.array([population.one_winner for population in layout.populations], np.uint8),
        "population_theta": theta,
        "parameter_value": pool.values(),
        "parameter_start": start,
        "parameter_step": step,
    }
    return fields, gains, initial_v


def _check(owner: str, c: Coefficients) -> None:
    """Refuse what the update of `dynamics` does not know."""
    if c.multi_spike and not (np.asarray(c.v_threshold) > 0.0).all():
        raise ValueError(f"{owner}: v_threshold must be above 0 for several spikes in a step")
    if c.multi_spike and c.theta_plus != 0.0:
        raise ValueError(f"{owner}: a neuron whose threshold adapts must spike at most once in a step")
