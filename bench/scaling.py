"""The cost of a synaptic event from 1 million to 300 million synapses.

Poisson-driven LIF neurons, each with input from a tenth of the others over weights too small to matter: the same
spikes with and without the synapses, so that the difference in time is the synapses' alone.
Goal: an event costs at most 3 times as much at 300 M synapses as at 1 M.
"""

import statistics
import time
from typing import Any

from common import finish, parser

import evsim
from evsim.experiment import peak_memory_bytes
from evsim.versions import versions


def simulate(neurons: int, indegree: int, threads: int) -> evsim.Simulation:
    """Ready to run, past its first 100 ms."""
    net = evsim.Network(dt=0.1, seed=1)
    lif = evsim.LIF(tau_mem=20.0, v_threshold=20.0, v_reset=0.0, t_ref=2.0)
    cells = net.add_population("cells", neurons, lif, v=evsim.uniform(0.0, 20.0))
    net.add_poisson("noise", cells, rate=14_000.0, weight=0.1)
    net.connect(cells, cells, evsim.fixed_indegree(indegree), weight=1e-4, delay=1.5)
    sim = evsim.Simulation(net, backend="cpu", threads=threads)
    sim.run(100.0)
    return sim


def timed(sim: evsim.Simulation, model_ms: float) -> tuple[float, int]:
    """Seconds and synaptic events of a run."""
    events, started = sim.n_events, time.perf_counter()
    sim.run(model_ms)
    return time.perf_counter() - started, sim.n_events - events


def main() -> None:
    given = parser(__doc__ or "", repeat=5).parse_args()
    rows: list[dict[str, Any]] = []
    for millions in (1, 3, 10, 30, 100, 300):
        neurons = round((millions * 1e7) ** 0.5)
        with_synapses = simulate(neurons, neurons // 10, given.threads)
        without = simulate(neurons, 0, given.threads)
        model_ms = float(max(20, 2000 // millions))
        costs = []
        for _ in range(given.repeat):
            bare, _ = timed(without, model_ms)
            full, events = timed(with_synapses, model_ms)
            costs.append((full - bare) * given.threads / events * 1e9)
        row = {
            "neurons": neurons,
            "synapses": with_synapses.n_synapses,
            "ns_per_event": statistics.median(costs),
        }
        row["build_s"] = with_synapses.build_seconds
        rows.append(row)
    growth = rows[-1]["ns_per_event"] / rows[0]["ns_per_event"]
    result = {"benchmark": "scaling", "threads": given.threads, "rows": rows, "growth": growth}
    finish(result | {"peak_memory_bytes": peak_memory_bytes(), "versions": versions()}, given.out)


if __name__ == "__main__":
    main()
