"""What a network takes, computed from its rules before anything is allocated."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evsim.distributions import Distribution
from evsim.dynamics import MAX_SPIKES
from evsim.layout import Layout, padded
from evsim.network import Network, Population, SpikeSource
from evsim.plastic import learning_bytes
from evsim.rows import shared_bytes
from evsim.stimuli import poisson_thresholds


@dataclass(frozen=True)
class Memory:
    """Bytes of a compiled network, by population and projection. `print` it for a table."""

    populations: dict[str, tuple[int, int]]  # name -> (neurons, bytes)
    projections: dict[str, tuple[float, int]]  # name -> (synapses, bytes)
    building: int  # bytes needed while building only

    @property
    def total(self) -> int:
        """Bytes held during a run."""
        return sum(size for _, size in [*self.populations.values(), *self.projections.values()])

    @property
    def bytes_per_neuron(self) -> float:
        """Mean over all neurons, the ring of arriving input included."""
        return _bytes_each(self.populations)

    @property
    def bytes_per_synapse(self) -> float:
        """Mean over all synapses, row starts included."""
        return _bytes_each(self.projections)

    def check(self, available: float) -> None:
        """Refuse a network that does not fit, naming what is too big."""
        if self.total + self.building <= available:
            return
        parts = {f"projection {name!r}": size for name, (_, size) in self.projections.items()}
        parts |= {f"population {name!r}": size for name, (_, size) in self.populations.items()}
        largest = max(parts, key=lambda name: parts[name])
        raise MemoryError(
            f"{largest} takes {format_bytes(parts[largest])} of the "
            f"{format_bytes(self.total + self.building)} the network needs, but {format_bytes(available)} "
            "are available; make it smaller, or use a larger machine"
        )

    def __str__(self) -> str:
        lines = [f"{'':<32}{'count':>14}{'bytes':>14}{'bytes each':>12}"]
        for name, (count, size) in [*self.populations.items(), *self.projections.items()]:
            each = size / max(count, 1)
            lines.append(f"{name[:31]:<32}{count:>14.0f}{format_bytes(size):>14}{each:>12.1f}")
        lines.append(f"{'total':<32}{'':>14}{format_bytes(self.total):>14}")
        lines.append(
            f"{self.bytes_per_neuron:.1f} bytes a neuron, {self.bytes_per_synapse:.1f} bytes a synapse; "
            f"{format_bytes(self.building)} more while building"
        )
        return "\n".join(lines)


def _bytes_each(parts: Mapping[str, tuple[float, int]]) -> float:
    return sum(size for _, size in parts.values()) / max(sum(count for count, _ in parts.values()), 1)


def estimate_memory(network: Network, layout: Layout, building: int, ring_bytes: int = 4) -> Memory:
    """The bytes of every population and projection, from the rules alone, and those needed while `building`.

    `ring_bytes` is 8 where sums of weights turn out to need 64 bits.
    """
    populations = {}
    adaptive = any(getattr(p.model, "theta_plus", 0.0) != 0.0 for p in layout.populations)
    varied = {p.name: _varied_coefficients(p, network.dt) for p in layout.populations}
    for p, population in enumerate(layout.populations):
        places = padded(population.size)
        # v, refractory, recorded, number of spikes, two sets of a window's spikes
        spikes = MAX_SPIKES if population.multi_spike else 1
        size = places * (4 + 4 + 1 + 8 + 2 * 4 * layout.window * spikes + (8 if adaptive else 0))
        if isinstance(population.model, SpikeSource):
            size += population.model.steps.size * 12
        else:
            k = int(layout.n_receptors[p])
            ring = layout.ring_slots * ring_bytes * 2**layout.target_bits
            size += k * places * 4 + ring * k * places // layout.n_inputs
            size += 4 * population.size * len(varied[population.name] - {"current_gain"})
        populations[population.name] = (population.size, size)
    for poisson in network.poissons:
        width = poisson_thresholds(poisson.rates.max(initial=0.0) * network.dt * 1e-3)[1].size
        tables = 4 * width * np.unique(poisson.rates).size
        _add(populations, poisson.target.population.name, 4 * poisson.rates.size + tables)
    for current in network.currents:
        name = current.target.population.name
        n_intervals, columns = current.amplitudes.shape
        columns = len(current.target) if "current_gain" in varied[name] else columns
        _add(populations, name, 4 * n_intervals * columns)
    projections: dict[str, tuple[float, int]] = {}
    for projection in network.projections:
        count = projection.expected_synapses()
        each = 8 if _is_many(projection.weight) or projection.plasticity is not None else 4
        size = round(count) * each + 8 * len(projection.source) * layout.n_threads
        size += learning_bytes(projection, layout, network.dt)
        if projection.shares_rows:
            size = shared_bytes(projection, layout.n_threads)
        before = projections.get(projection.name, (0.0, 0))
        projections[projection.name] = (before[0] + count, before[1] + size)
    return Memory(populations, projections, building)


def _varied_coefficients(population: Population, dt: float) -> set[str]:
    """Names of the coefficients that differ between neurons."""
    model = population.model
    if isinstance(model, SpikeSource):
        return set()
    values = {name: np.ones(2) if _is_many(value) else 1.0 for name, value in model.parameters().items()}
    made: dict[str, Any] = {}
    coefficients = model.coefficients(values, dt)
    for field in fields(coefficients):
        value = getattr(coefficients, field.name)
        if isinstance(value, list):
            made |= {f"{field.name}[{k}]": each for k, each in enumerate(value)}
        else:
            made[field.name] = value
    return {name for name, value in made.items() if np.ndim(value) > 0}


def _is_many(value: Any) -> bool:
    return isinstance(value, Distribution) or np.ndim(value) > 0


def _add(populations: dict[str, tuple[int, int]], name: str, size: int) -> None:
    count, before = populations[name]
    populations[name] = (count, before + size)


def format_bytes(size: float) -> str:
    """`size` in a unit a person reads."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.4g} TB"


def available_memory() -> float:
    """Bytes that can still be allocated, as far as the system says."""
    limits = [_within_container()]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    limits += [float(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable:")]
    if not lines and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min(limits)


def _within_container(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """What a control group (v2) leaves; file pages not in use can be dropped and do not count."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        limit = "max"
    if limit == "max":
        return float("inf")
    return float(limit) - float(used) + float(stat.get("inactive_file", 0))
