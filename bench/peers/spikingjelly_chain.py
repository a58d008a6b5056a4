"""A chain of Linear layers and LIFNodes in SpikingJelly: the peer of evsim's chain.

Linear(784, 1000), LIFNode, Linear(1000, 1000), LIFNode, Linear(1000, 10), LIFNode, without biases and with LIFNode's
defaults (tau 2, hard reset), in multi-step mode without gradients. Each batch is ``--time`` steps of random spikes,
``rng.random((steps, batch, 784), dtype=numpy.float32) < rate`` with rng = numpy.random.default_rng(seed) drawn on from
batch to batch. Timed is the network with its reset, not the making of its input. The weights are read from
``--weights``: arrays linear1.weight, linear2.weight and linear3.weight, (out, in); ``--make`` writes random ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from peer_report import add_common_arguments, peak_memory_bytes
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

SIZES = (784, 1000, 1000, 10)
SPREAD = 8.0  # standard deviation of the sum of weights over sqrt(fan-in) inputs


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help=".npz of the three weights")
    parser.add_argument("--make", action="store_true", help="write random weights and stop")
    parser.add_argument("--rate", type=float, default=0.1, help="input spikes a step (default %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="samples at once (default %(default)s)")
    parser.add_argument("--batches", type=int, default=10, help="timed ones (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="untimed batches before (default %(default)s)")
    add_common_arguments(parser, time=100.0, threads=2)
    return parser.parse_args()


def build(weights: Path) -> nn.Sequential:
    """The chain with its weights."""
    network = nn.Sequential()
    with np.load(weights) as arrays:
        for number, (n_in, n_out) in enumerate(pairwise(SIZES), start=1):
            linear = layer.Linear(n_in, n_out, bias=False)
            linear.weight.data = torch.from_numpy(arrays[f"linear{number}.weight"].astype(np.float32))
            network.extend([linear, neuron.LIFNode()])
    functional.set_step_mode(network, "m")
    return network


def write_weights(path: Path, seed: int) -> None:
    """Write random weights with which every layer fires at 2 to 30 % of input spikes."""
    rng = np.random.default_rng(seed)
    weights = {}
    for number, (n_in, n_out) in enumerate(pairwise(SIZES), start=1):
        drawn = rng.normal(0.0, SPREAD / np.sqrt(n_in), (n_out, n_in))
        weights[f"linear{number}.weight"] = drawn.astype(np.float32)
    np.savez(path, **weights)


def main() -> None:
    """Write weights, or build, run the batches and report."""
    arguments = parse_arguments()
    if arguments.make:
        write_weights(arguments.weights, arguments.seed)
        return
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    network = build(arguments.weights)
    build_s = time.perf_counter() - start

    steps, seconds, output_spikes = int(arguments.time), [], 0
    rng = np.random.default_rng(arguments.seed)
    with torch.no_grad():
        for number in range(arguments.warmup + arguments.batches):
            drawn = rng.random((steps, arguments.batch, SIZES[0]), dtype=np.float32) < arguments.rate
            spikes = torch.from_numpy(drawn.astype(np.float32))
            start = time.perf_counter()
            functional.reset_net(network)
            output = network(spikes)
            stop = time.perf_counter()
            if number >= arguments.warmup:
                seconds.append(stop - start)
                output_spikes += int(output.sum())
        functional.reset_net(network)
        rates = []  # spikes of a neuron in a step, in the last batch
        for module in network:
            spikes = module(spikes)
            if isinstance(module, neuron.LIFNode):
                rates.append(round(float(spikes.mean()), 4))
    report = {
        "simulator": "SpikingJelly",
        "rate": arguments.rate,
        "layer_rates": rates,
        "batch": arguments.batch,
        "batches": arguments.batches,
        "steps": steps,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "seconds_per_batch": round(statistics.median(seconds), 6),
        "output_spikes": output_spikes,
        "build_s": round(build_s, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": {name: version(name) for name in ("spikingjelly", "torch", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
