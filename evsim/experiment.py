"""What every experiment's script does alike: options, run, summary, one JSON line."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from evsim import checks
from evsim.io.output import check_output
from evsim.network import Network, SpikeSource, Target
from evsim.reference_networks import brunel, microcircuit
from evsim.simulation import Simulation
from evsim.versions import versions

__all__ = ["peak_memory_bytes", "report", "run_experiment"]


def peak_memory_bytes() -> int | None:
    """The most memory this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def report(sim: Simulation, run_s: float, model_ms: float, spikes: dict[str, int], events: int) -> dict[str, Any]:
    """The result of a run of `model_ms`, in the keys every script and benchmark uses."""
    sizes = {p.name: p.size for p in sim.network.populations.values()}
    return {
        "neurons": sim.n_neurons,
        "synapses": sim.n_synapses,
        "spikes": sum(spikes.values()),
        "rate_hz": {name: n / sizes[name] / (model_ms * 1e-3) for name, n in spikes.items()},
        "build_s": sim.build_seconds,
        "run_s": run_s,
        "real_time_factor": run_s / (model_ms * 1e-3),
        "events_per_s": events / run_s,
        "peak_memory_bytes": peak_memory_bytes(),
        "spike_checksum": sim.spike_checksum,
        "backend": sim.backend,
        "threads": sim.threads,
        "seed": sim.network.seed,
        "versions": versions(),
    }


def run_experiment(name: str, arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run `brunel` or `microcircuit` with command-line options; prints a summary, or one JSON line with --json."""
    options = _parser(name).parse_args(arguments)
    if name == "brunel":
        net = brunel(options.neurons, options.rate, seed=options.seed, plastic=options.plastic)
    else:
        net = microcircuit(options.scale, options.drive, seed=options.seed)
    _check(name, options, net)
    sim = Simulation(net, backend=options.backend, threads=options.threads)
    if options.out:
        everything = [p for p in net.populations.values() if not isinstance(p.model, SpikeSource)]
        traced: dict[Target, str] = {p[: options.traces]: "v" for p in everything if options.traces}
        sim.record(options.out, spikes=everything, state=traced, every=1.0, overwrite=options.overwrite)
    sim.run(options.warmup)
    before, events = sim.spike_counts(), sim.n_events
    started = time.perf_counter()
    sim.run(options.time)
    run_s = time.perf_counter() - started
    spikes = {name: n - before[name] for name, n in sim.spike_counts().items()}
    result = report(sim, run_s, options.time, spikes, sim.n_events - events)
    if options.json:
        print(json.dumps(result))
    else:
        print(_summary(name, result, options, net))
    return result


def _check(name: str, options: argparse.Namespace, net: Network) -> None:
    """Refuse before the build, which may take minutes, what would fail after it."""
    checks.number(name, "time", options.time, 0.0, inclusive=False, unit="ms")
    for what in ("time", "warmup"):
        checks.grid_step(name, what, getattr(options, what), net.dt)
    checks.size(name, "traces", options.traces)
    if options.out:
        check_output(options.out, options.overwrite)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"evsim run {name}", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    if name == "brunel":
        parser.description = brunel.__doc__ and brunel.__doc__.splitlines()[0]
        parser.add_argument("--neurons", type=int, default=10_000, help="all neurons, 4/5 of them excitatory")
        parser.add_argument("--rate", type=float, default=20_000.0, help="Poisson input of each neuron, Hz")
        parser.add_argument("--plastic", action="store_true", help="synapses between excitatory neurons learn by STDP")
    else:
        parser.description = microcircuit.__doc__ and microcircuit.__doc__.splitlines()[0]
        parser.add_argument("--scale", type=float, default=1.0, help="of population sizes and indegrees, in (0, 1]")
        parser.add_argument("--drive", choices=("poisson", "dc"), default="poisson", help="external input")
    warmup = 500.0 if name == "microcircuit" else 0.0
    parser.add_argument("--time", type=float, default=1000.0, help="model time, ms")
    parser.add_argument("--warmup", type=float, default=warmup, help="model time before it, not measured, ms")
    parser.add_argument("--threads", type=int, help="CPU threads; by default all cores")
    parser.add_argument("--backend", choices=("auto", "cpu", "cuda"), default="auto", help="where to run")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--out", help="HDF5 file for all spikes and some membrane potentials")
    parser.add_argument("--traces", type=int, default=5, help="neurons of each population whose v goes to --out")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return parser


def _summary(name: str, result: dict[str, Any], options: argparse.Namespace, net: Network) -> str:
    rates = ", ".join(f"{population} {rate:.2f} Hz" for population, rate in result["rate_hz"].items())
    where = "the GPU" if result["backend"] == "cuda" else f"{result['threads']} threads"
    lines = [
        f"{name}: {result['neurons']:,} neurons, {result['synapses']:,} synapses, built in {result['build_s']:.2f} s",
        f"{options.time:g} ms of model time in {result['run_s']:.2f} s on {where}: "
        f"real-time factor {result['real_time_factor']:.3f}, {result['events_per_s']:.3g} synaptic events/s",
        f"rates: {rates}",
        f"spike checksum {result['spike_checksum']} (dt {net.dt:g} ms, seed {net.seed})",
    ]
    if options.out:
        lines.append(f"recorded to {options.out}")
    return "\n".join(lines)
