"""The Brunel network in Brian2's C++ standalone mode with OpenMP: the peer of evsim's own Brunel benchmark.

The same network as `nest_brunel`: exact integration of dv/dt = -v / tau, delta synapses, input during the
refractory time is lost, a Poisson train for each neuron. The run time is the one the compiled program
measures itself, so code generation, compilation and the making of the synapses count as building. Brian2's
default compiler flags (-O3 -ffast-math -march=native) are left as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import brian2 as b2
import psutil
from peer_report import add_common_arguments, print_report

EXC_INPUTS, INH_INPUTS = 800, 200
WEIGHT, G = 0.1 * b2.mV, 5.0
DELAY = 1.5 * b2.ms
NOISE_INPUTS = 1000  # PoissonInput draws binomial counts; with so many inputs they are as good as Poisson's


def parse_arguments(description: str, rate: float) -> argparse.Namespace:
    """Read the command line; ``rate`` is the default of ``--rate``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--rate", type=float, default=rate, help="Poisson rate, Hz (default %(default)s)")
    parser.add_argument("--presim", type=float, default=100.0, help="untimed warm-up, ms (default %(default)s)")
    add_common_arguments(parser, time=1000.0, threads=2)
    return parser.parse_args()


def connect_static(source: b2.Group, target: b2.Group, indegree: int, weight: b2.Quantity) -> b2.Synapses:
    """Make synapses that share one weight."""
    namespace = {"synapse_weight": weight}
    synapses = b2.Synapses(source, target, on_pre="v_post += synapse_weight", delay=DELAY, namespace=namespace)
    synapses.connect(i=f"int(rand() * N_pre) for _ in range({indegree})")
    return synapses


def connect(neurons: b2.NeuronGroup, n_exc: int) -> list[b2.Synapses]:
    """Make the synapses between the neurons."""
    return [
        connect_static(neurons[:n_exc], neurons, EXC_INPUTS, WEIGHT),
        connect_static(neurons[n_exc:], neurons, INH_INPUTS, -G * WEIGHT),
    ]


def build(arguments: argparse.Namespace, connect: Callable) -> tuple[list, b2.SpikeMonitor]:
    """Describe the network and its two runs; return all objects and the monitor of the second run."""
    b2.defaultclock.dt = 0.1 * b2.ms
    b2.seed(arguments.seed)
    n_exc = round(0.8 * arguments.neurons)
    neurons = b2.NeuronGroup(
        arguments.neurons,
        "dv/dt = -v / (20*ms) : volt (unless refractory)",
        threshold="v >= 20*mV",
        reset="v = 0*mV",
        refractory=2 * b2.ms,
        method="exact",
    )
    neurons.v = "20*mV * rand()"
    noise = b2.PoissonInput(neurons, "v", NOISE_INPUTS, arguments.rate / NOISE_INPUTS * b2.Hz, WEIGHT)

    objects = [neurons, noise, *connect(neurons, n_exc)]
    network = b2.Network(objects)
    network.run(arguments.presim * b2.ms)
    monitor = b2.SpikeMonitor(neurons, record=arguments.record)
    network.add(monitor)
    network.run(arguments.time * b2.ms)
    return [network, *objects], monitor


def simulate(directory: str) -> int:
    """Run the compiled program in ``directory`` and return the peak resident memory it had, bytes."""
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.25):  # seldom, so as not to disturb the run; VmHWM remembers the peak
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
                    line = next(line for line in lines if line.startswith("VmHWM:"))
                    peak = max(peak, int(line.split()[1]) * 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        b2.device.run(directory, with_output=False, run_args=[])
    finally:
        done.set()
        watcher.join()
    return peak


def measure(arguments: argparse.Namespace, connect: Callable, describe: Callable | None = None) -> None:
    """Generate, compile, run and report.

    Parameters
    ----------
    arguments : argparse.Namespace
        The parsed command line.
    connect : callable
        Makes the synapses, given the neurons and the number of excitatory ones; returns them in a list.
    describe : callable, optional
        Given that list after the run, returns further entries of the report.
    """
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.prefs.devices.cpp_standalone.openmp_threads = arguments.threads
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        objects, monitor = build(arguments, connect)
        b2.device.build(directory=directory, compile=True, run=False)
        compile_s = time.perf_counter() - start
        memory_bytes = simulate(directory)
        run_s = b2.device._last_run_time
        build_s = time.perf_counter() - start - run_s
        count = monitor.count[:]
        synapses = [each for each in objects if isinstance(each, b2.Synapses)]
        extra = describe(synapses) if describe else {}

    n_exc = round(0.8 * arguments.neurons)
    seconds = arguments.time * 1e-3
    indegree = EXC_INPUTS + INH_INPUTS
    print_report(
        arguments,
        simulator="Brian2 C++ standalone",
        packages=("brian2", "numpy"),
        neurons=arguments.neurons,
        synapses=arguments.neurons * indegree,
        spikes=int(count.sum()),
        events=int(count.sum()) * indegree,
        rate_hz={"exc": count[:n_exc].mean() / seconds, "inh": count[n_exc:].mean() / seconds},
        build_s=build_s,
        run_s=run_s,
        memory_bytes=memory_bytes,
        external_rate_hz=arguments.rate,
        compile_s=round(compile_s, 3),
        **extra,
    )


if __name__ == "__main__":
    measure(parse_arguments(__doc__, rate=20_000.0), connect)
