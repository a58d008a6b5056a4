"""One network on the GPU: real-time factor, build, memory, launches, and how near the floor it comes.

    python bench/gpu.py CASE [--ceilings FILE] [--out FILE] [--tiny]

500 ms of model time are discarded, then 10 s are timed (fewer where that would take over 40 s), without recording.
Kernels are compiled before, on a small network. The floor is what bench/ceilings.py measured in the same run: for each
window of steps two barriers and a chain of three loads from the L2 cache and one from memory; for each event its bytes
read from memory and an atomic addition to a buffer of the ring's size. It takes whichever is longer.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import spice_networks
from common import ROOT, write_line
from device import DeviceMemory, describe_device, device_parser

import evsim
from evsim.experiment import report
from evsim.network import Network
from evsim.reference_networks import brunel, microcircuit, vogels

LONGEST_S = 40.0  # of the timed run
THREADS = 256  # of a block of the engine's grid


class Case(NamedTuple):
    """A network to measure."""

    make: Callable[[], Network]
    make_tiny: Callable[[], Network]
    window: int  # steps between two exchanges of spikes
    goal: float | None  # real-time factor on an H200-class GPU


CASES = {
    "microcircuit-poisson": Case(microcircuit, lambda: microcircuit(0.001), 1, 0.10),
    "microcircuit-dc": Case(lambda: microcircuit(drive="dc"), lambda: microcircuit(0.001, "dc"), 1, 0.10),
    "brunel-1g": Case(lambda: spice_networks.brunel(1e9), lambda: spice_networks.brunel(1000), 15, 0.2),
    "brunel-3g": Case(lambda: spice_networks.brunel(3e9), lambda: spice_networks.brunel(1000), 15, 0.5),
    "vogels-1g": Case(lambda: vogels(223_607), lambda: vogels(250), 8, 0.25),
    "brunel-small": Case(lambda: brunel(1000), lambda: brunel(100), 15, None),
}


def measure(sim: evsim.Simulation, warmup_ms: float, model_ms: float) -> dict[str, Any]:
    """Run, discarding the start; the keys of every benchmark, and what the host did for the launches."""
    started = time.perf_counter()
    sim.run(warmup_ms)
    expected_s = (time.perf_counter() - started) / warmup_ms * model_ms
    if expected_s > LONGEST_S:
        model_ms = max(100.0, round(model_ms * LONGEST_S / expected_s / 100.0) * 100.0)
    before, events = sim.spike_counts(), sim.n_events
    launches, launch_s = launch_counts(sim)
    started = time.perf_counter()
    sim.run(model_ms)
    run_s = time.perf_counter() - started
    spikes = {name: n - before[name] for name, n in sim.spike_counts().items()}
    result = report(sim, run_s, model_ms, spikes, sim.n_events - events)
    result |= {"model_ms": model_ms, "warmup_ms": warmup_ms, "events": sim.n_events - events}
    result["us_per_step"] = run_s / (model_ms / sim.network.dt) * 1e6
    if launches is not None:
        n_launches, seconds = launch_counts(sim)
        result["launches_per_model_s"] = (n_launches - launches) / (model_ms * 1e-3)
        result["launch_host_us"] = (seconds - launch_s) / max(n_launches - launches, 1) * 1e6
    return result


def launch_counts(sim: evsim.Simulation) -> tuple[Any, Any]:
    """Launches so far and the host's seconds in them; None where the engine does not count them."""
    return getattr(sim._engine, "n_launches", None), getattr(sim._engine, "launch_seconds", None)


def floor(ceilings: dict[str, Any], result: dict[str, Any], sim: evsim.Simulation, window: int) -> dict[str, Any]:
    """The shortest time that the device's own limits allow this run, and what share of the time taken it is."""
    blocks = -(-result["neurons"] // THREADS)
    memory = sim.memory()
    ring_bytes = sum(size for _, size in memory.populations.values())
    barriers, atomics = ceilings["barrier_us"], ceilings["atomics_per_s"]
    barrier_us = barriers[str(max(n for n in map(int, barriers) if n <= blocks))]
    larger = [n for n in map(int, atomics) if n >= ring_bytes]
    atomics_per_s = atomics[str(min(larger, default=max(map(int, atomics))))]
    windows = result["model_ms"] / sim.network.dt / window
    window_us = 2.0 * barrier_us + 3e-3 * ceilings["load_l2_ns"] + 1e-3 * ceilings["load_memory_ns"]
    event_s = max(memory.bytes_per_synapse / ceilings["read_bytes_per_s"], 1.0 / atomics_per_s)
    latency_s, events_s = windows * window_us * 1e-6, result["events"] * event_s
    return {
        "floor_s": max(latency_s, events_s),
        "floor_fraction": max(latency_s, events_s) / result["run_s"],
        "floor_is": "latency" if latency_s > events_s else "events",
        "floor_latency_us_per_step": latency_s / windows / window * 1e6,
        "floor_events_per_s": 1.0 / event_s,
        "bytes_per_event": memory.bytes_per_synapse,
        "read_bytes_per_s": result["events_per_s"] * memory.bytes_per_synapse,
        "ceilings": {"barrier_us": barrier_us, "atomics_per_s": atomics_per_s},
    }


def second_start_s(neurons: int) -> float:
    """Seconds of a script that runs a small network, started for the second time."""
    script = ["scripts/brunel.py", "--backend", "cuda", "--neurons", str(neurons), "--time", "1", "--json"]
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run([sys.executable, *script], cwd=ROOT, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    return seconds


def main() -> None:
    parser = device_parser(__doc__ or "")
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--ceilings", type=Path, help="what bench/ceilings.py wrote in the same run")
    given = parser.parse_args()
    case = CASES[given.case]
    warmup_ms, model_ms = (0.5, 0.5) if given.tiny else (500.0, 10_000.0)
    first = evsim.Simulation(case.make_tiny(), backend="cuda")
    first.run(case.make_tiny().dt * (1 if given.tiny else 100))
    network = (case.make_tiny if given.tiny else case.make)()
    with DeviceMemory() as memory:
        started = time.perf_counter()
        sim = evsim.Simulation(network, backend="cuda")
        ready_s = time.perf_counter() - started
    result: dict[str, Any] = {"benchmark": given.case, "goal": case.goal, "ready_s": ready_s}
    result |= {"device_memory_bytes": memory.peak} | measure(sim, warmup_ms, model_ms) | describe_device()
    if given.ceilings and given.ceilings.exists():
        result |= floor(json.loads(given.ceilings.read_text()), result, sim, case.window)
    if given.case == "brunel-small":
        cpu = measure(evsim.Simulation(network, backend="cpu", threads=1), warmup_ms, model_ms)
        result |= {"cpu": cpu, "gpu_over_cpu": result["real_time_factor"] / cpu["real_time_factor"]}
        result["second_start_s"] = second_start_s(50 if given.tiny else 1000)
    write_line(result, given.out)


if __name__ == "__main__":
    main()
