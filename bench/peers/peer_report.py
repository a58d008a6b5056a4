"""What every peer benchmark prints: one JSON line with the same keys for each simulator."""

from __future__ import annotations

import argparse
import json
import resource
from importlib.metadata import version


def add_common_arguments(parser: argparse.ArgumentParser, *, time: float, threads: int) -> None:
    """Add the options that all peer benchmarks share.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Gets the options added to it.
    time : float
        Default of ``--time``, ms.
    threads : int
        Default of ``--threads``.
    """
    parser.add_argument("--time", type=float, default=time, help="timed model time, ms (default %(default)s)")
    parser.add_argument("--threads", type=int, default=threads, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--record", action="store_true", help="record all spikes while timing")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")


def peak_memory_bytes() -> int:
    """Return the largest resident size this process has had, bytes (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def print_report(
    arguments: argparse.Namespace,
    *,
    simulator: str,
    packages: tuple[str, ...],
    neurons: int,
    synapses: int,
    spikes: int,
    events: float,
    rate_hz: dict[str, float],
    build_s: float,
    run_s: float,
    memory_bytes: int,
    **extra: object,
) -> None:
    """Print a readable summary (unless ``--json``) and, last, the JSON line.

    Parameters
    ----------
    arguments : argparse.Namespace
        The parsed command line: time (ms), threads, seed, record and json are read.
    simulator : str
        Name of the simulator.
    packages : tuple of str
        Distributions whose versions are reported.
    neurons, synapses : int
        Size of the network, without its stimulating devices.
    spikes : int
        Spikes of the neurons during the timed run.
    events : float
        Synaptic events between neurons during the timed run: spikes times mean out-degree; the external
        Poisson spikes are not counted.
    rate_hz : dict
        Mean rate of each population during the timed run, Hz.
    build_s, run_s : float
        Wall-clock seconds before the timed run, and of it.
    memory_bytes : int
        Peak resident memory of the process that simulates.
    **extra
        Further entries of the JSON line.
    """
    report = {
        "simulator": simulator,
        "neurons": neurons,
        "synapses": synapses,
        "time_ms": arguments.time,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "record": arguments.record,
        "spikes": spikes,
        "rate_hz": {name: round(rate, 3) for name, rate in rate_hz.items()},
        "build_s": round(build_s, 3),
        "run_s": round(run_s, 4),
        "real_time_factor": round(run_s / (arguments.time * 1e-3), 4),
        "events_per_s": round(events / run_s),
        "peak_memory_bytes": memory_bytes,
        "versions": {name: version(name) for name in packages},
        **extra,
    }
    if not arguments.json:
        rates = ", ".join(f"{name} {rate:.2f}" for name, rate in rate_hz.items())
        print(f"{simulator}: {neurons} neurons, {synapses} synapses, rates (Hz): {rates}")
        print(f"real-time factor {report['real_time_factor']}, {report['events_per_s']:.4g} events/s")
    print(json.dumps(report), flush=True)
