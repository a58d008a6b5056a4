"""The Brunel network in NEST: the peer of evsim's own Brunel benchmark.

N iaf_psc_delta neurons, 80 % excitatory, each with exactly 800 excitatory and 200 inhibitory inputs (drawn
with replacement, self-connections allowed) and a Poisson train of its own; all delays are 1.5 ms. The Poisson
delay is as long as the others because NEST exchanges spikes at the smallest delay of the whole network.

Without ``--record`` the spikes of a sample of each population are recorded for the rates, and NEST's own
spike counter gives the total.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from peer_report import add_common_arguments, peak_memory_bytes, print_report

EXC_INPUTS, INH_INPUTS = 800, 200
WEIGHT, G = 0.1, 5.0  # mV, -
DELAY = 1.5  # ms
DT = 0.1  # ms
V_THRESHOLD = 20.0  # mV
NEURON = {
    "C_m": 1.0,
    "tau_m": 20.0,
    "E_L": 0.0,
    "V_reset": 0.0,
    "V_th": V_THRESHOLD,
    "t_ref": 2.0,
    "I_e": 0.0,
}  # pF, ms, mV, mV, mV, ms, pA
SAMPLE = 500  # neurons of each population recorded for its rate


def parse_arguments(description: str, rate: float) -> argparse.Namespace:
    """Read the command line; ``rate`` is the default of ``--rate``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--rate", type=float, default=rate, help="Poisson rate, Hz (default %(default)s)")
    parser.add_argument("--presim", type=float, default=100.0, help="untimed warm-up, ms (default %(default)s)")
    add_common_arguments(parser, time=1000.0, threads=2)
    return parser.parse_args()


def connect(nest, populations: dict) -> None:
    """Make the synapses between the neurons."""
    for name, indegree, weight in (("exc", EXC_INPUTS, WEIGHT), ("inh", INH_INPUTS, -G * WEIGHT)):
        rule = {"rule": "fixed_indegree", "indegree": indegree}
        everyone = populations["exc"] + populations["inh"]
        nest.Connect(populations[name], everyone, rule, {"weight": weight, "delay": DELAY})


def build(nest, arguments: argparse.Namespace, connect: Callable, neuron: dict) -> tuple[dict, dict]:
    """Create and connect the network; return its populations and their spike recorders by name."""
    nest.ResetKernel()
    nest.set(resolution=DT, local_num_threads=arguments.threads, rng_seed=arguments.seed)
    n_exc = round(0.8 * arguments.neurons)
    populations = {
        "exc": nest.Create("iaf_psc_delta", n_exc, neuron),
        "inh": nest.Create("iaf_psc_delta", arguments.neurons - n_exc, neuron),
    }
    everyone = populations["exc"] + populations["inh"]
    everyone.V_m = nest.random.uniform(min=0.0, max=V_THRESHOLD)

    noise = nest.Create("poisson_generator", params={"rate": arguments.rate})
    nest.Connect(noise, everyone, syn_spec={"weight": WEIGHT, "delay": DELAY})
    connect(nest, populations)

    recorders = {}
    for name, population in populations.items():
        recorded = population if arguments.record else population[: min(SAMPLE, len(population))]
        recorders[name] = nest.Create("spike_recorder", params={"start": arguments.presim})
        nest.Connect(recorded, recorders[name], syn_spec={"delay": DELAY})
    return populations, recorders


def measure(
    arguments: argparse.Namespace, connect: Callable, neuron: dict = NEURON, describe: Callable | None = None
) -> None:
    """Build, warm up, time one run and report.

    Parameters
    ----------
    arguments : argparse.Namespace
        The parsed command line.
    connect : callable
        Makes the synapses, given nest and the populations by name.
    neuron : dict
        Parameters of the neurons.
    describe : callable, optional
        Given nest and the populations after the run, returns further entries of the report.
    """
    os.environ["PYNEST_QUIET"] = "1"
    import nest  # after the command line: the import takes seconds and prints a banner

    nest.verbosity = nest.VerbosityLevel.ERROR
    start = time.perf_counter()
    populations, recorders = build(nest, arguments, connect, neuron)
    nest.Prepare()
    nest.Run(arguments.presim)
    build_s = time.perf_counter() - start

    start = time.perf_counter()
    nest.Run(arguments.time)
    run_s = time.perf_counter() - start
    spikes = nest.local_spike_counter  # of the latest Run only
    nest.Cleanup()
    memory_bytes = peak_memory_bytes()
    extra = describe(nest, populations) if describe else {}

    rate_hz = {}
    for name, population in populations.items():
        recorded = len(population) if arguments.record else min(SAMPLE, len(population))
        rate_hz[name] = recorders[name].n_events / recorded / (arguments.time * 1e-3)
    indegree = EXC_INPUTS + INH_INPUTS
    print_report(
        arguments,
        simulator="NEST",
        packages=("nest-simulator", "numpy"),
        neurons=arguments.neurons,
        synapses=arguments.neurons * indegree,
        spikes=spikes,
        events=spikes * indegree,
        rate_hz=rate_hz,
        build_s=build_s,
        run_s=run_s,
        memory_bytes=memory_bytes,
        external_rate_hz=arguments.rate,
        **extra,
    )


if __name__ == "__main__":
    measure(parse_arguments(__doc__, rate=20_000.0), connect)
