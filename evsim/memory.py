"""What a network takes, computed from its rules before anything is allocated."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evsim.distributions import Distribution
from evsim.layout import Layout, padded
from evsim.network import Network, Projection, SpikeSource


@dataclass(frozen=True)
class Memory:
    """Bytes of a compiled network, by population and projection. `print` it for a table."""

    populations: dict[str, tuple[int, int]]  # name -> (neurons, bytes)
    projections: dict[str, tuple[float, int]]  # name -> (synapses, bytes)
    building: int  # bytes needed while building only

    @property
    def total(self) -> int:
        """Bytes held during a run."""
        return sum(size for _, size in self.populations.values()) + sum(size for _, size in self.projections.values())

    @property
    def bytes_per_neuron(self) -> float:
        """Mean over all neurons, the ring of arriving input included."""
        return _ratio(self.populations.values())

    @property
    def bytes_per_synapse(self) -> float:
        """Mean over all synapses, row starts included."""
        return _ratio(self.projections.values()) if self.projections else 0.0

    def check(self, available: float) -> None:
        """Refuse a network that does not fit, naming what is too big."""
        if self.total + self.building <= available:
            return
        parts = {f"projection {name!r}": size for name, (_, size) in self.projections.items()}
        parts |= {f"population {name!r}": size for name, (_, size) in self.populations.items()}
        largest = max(parts, key=lambda name: parts[name])
        raise MemoryError(
            f"{largest} takes {format_bytes(parts[largest])} of the {format_bytes(self.total + self.building)} the "
            f"network needs, but {format_bytes(available)} are available; make it smaller, or use a larger machine"
        )

    def __str__(self) -> str:
        lines = [f"{'':<32}{'count':>14}{'bytes':>14}{'bytes each':>12}"]
        for name, (count, size) in [*self.populations.items(), *self.projections.items()]:
            lines.append(f"{name[:31]:<32}{count:>14.0f}{format_bytes(size):>14}{size / max(count, 1):>12.1f}")
        lines.append(f"{'total':<32}{'':>14}{format_bytes(self.total):>14}")
        lines.append(
            f"{self.bytes_per_neuron:.1f} bytes a neuron, {self.bytes_per_synapse:.1f} bytes a synapse; "
            f"{format_bytes(self.building)} more while building"
        )
        return "\n".join(lines)


def _ratio(parts: Iterable[tuple[float, int]]) -> float:
    counts, sizes = zip(*parts, strict=True)
    return float(sum(sizes) / max(sum(counts), 1))


def estimate_memory(network: Network, layout: Layout) -> Memory:
    """The bytes of every population and projection, from the rules alone."""
    populations = {}
    for p, population in enumerate(layout.populations):
        places = padded(population.size)
        size = places * (4 + 4 + 1 + 2 * 4 * layout.window)  # v, refractory, recorded, two sets of window spikes
        if isinstance(population.model, SpikeSource):
            size += population.model.steps.size * 12
        else:
            k = int(layout.n_receptors[p])
            ring = layout.ring_slots * 4 * 2**layout.target_bits
            size += k * places * 4 + ring * k * places // layout.n_inputs
            size += 4 * population.size * sum(1 for v in population.model.parameters().values() if _is_many(v))
        populations[population.name] = (population.size, size)
    for poisson in network.poissons:
        _add(populations, poisson.target.population.name, 4 * poisson.rates.size)
    for current in network.currents:
        _add(populations, current.target.population.name, 4 * current.amplitudes.size)
    projections: dict[str, tuple[float, int]] = {}
    for projection in network.projections:
        count = projection.expected_synapses()
        each = 8 if _is_many(projection.weight) else 4
        size = round(count) * each + 8 * len(projection.source) * layout.n_threads
        before = projections.get(projection.name, (0.0, 0))
        projections[projection.name] = (before[0] + count, before[1] + size)
    return Memory(populations, projections, _building(network, layout))


def _building(network: Network, layout: Layout) -> int:
    rows = max((len(p.source) for p in network.projections), default=0) * layout.n_threads
    listed = max((_listed(p) for p in network.projections), default=0)
    return 8 * rows * (layout.n_threads + 1) + 16 * layout.n_inputs + listed


def _listed(projection: Projection) -> int:
    return 0 if isinstance(projection.delay, Distribution) or projection.delay.ndim == 0 else 8 * projection.delay.size


def _is_many(value: object) -> bool:
    return isinstance(value, Distribution) or getattr(value, "ndim", 0) > 0


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
    limits = [float("inf")]
    for name, unit in (("/proc/meminfo", 1024.0), ("/sys/fs/cgroup/memory.max", 1.0)):
        try:
            text = Path(name).read_text()
        except OSError:
            continue
        found = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
        if found or text.strip().isdigit():
            limits.append(float((found or [text])[0]) * unit)
    if len(limits) == 1 and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min(limits)
