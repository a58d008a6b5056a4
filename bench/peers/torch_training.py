"""Seconds a batch of training in PyTorch: SpikingJelly's 784-10 network, or sinabs' network of rows of MNIST.

``--case lif_steps``: Linear(784, 10), LIFNode(tau 2, ATan), Poisson encoder, 100 steps, MSE of rates, Adam, as in
SpikingJelly's example, step by step. ``--case lif``: the same in multi-step mode, which is faster. ``--case rows``:
Linear layers 28-128-128-256-256-10, each followed by sinabs' IAF, 28 rows as steps, cross-entropy of counts, Adam.
Timed is a step of the optimiser with everything it needs: encoding, forward, backward, update.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_mnist import read_images, read_labels
from peer_report import add_common_arguments, peak_memory_bytes
from torch import nn
from torch.nn import functional as nnf

ROWS = (28, 128, 128, 256, 256, 10)


def make_lif(steps: int, step_by_step: bool) -> tuple[nn.Module, Any]:
    """SpikingJelly's network, and the loss of a batch."""
    from spikingjelly.activation_based import encoding, functional, layer, neuron, surrogate

    network = nn.Sequential(
        layer.Linear(784, 10, bias=False), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan())
    )
    functional.set_step_mode(network, "s" if step_by_step else "m")
    encode = encoding.PoissonEncoder()

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        functional.reset_net(network)
        flat = images.reshape(len(images), 784)
        if step_by_step:
            rates = sum(network(encode(flat)) for _ in range(steps)) / steps
        else:
            rates = network(encode(flat.expand(steps, *flat.shape))).mean(0)
        return nnf.mse_loss(rates, nnf.one_hot(labels, 10).float())

    return network, loss


def make_rows() -> tuple[nn.Module, Any]:
    """sinabs' network, and the loss of a batch."""
    from sinabs import layers

    parts: list[nn.Module] = []
    for n_in, n_out in pairwise(ROWS):
        parts += [nn.Linear(n_in, n_out), layers.IAF(min_v_mem=-1.0)]
    network = nn.Sequential(*parts)

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        for part in parts[1::2]:
            part.reset_states()
        spikes = (torch.rand_like(images) < images).float()
        return nnf.cross_entropy(network(spikes).sum(1), labels)

    return network, loss


def main() -> None:
    """Train some batches and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=("lif", "lif_steps", "rows"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--batch", type=int, default=64, help="samples at once (default %(default)s)")
    parser.add_argument("--batches", type=int, default=30, help="timed ones (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=5, help="untimed batches before (default %(default)s)")
    add_common_arguments(parser, time=100.0, threads=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    n = arguments.batch * (arguments.warmup + arguments.batches)
    images, labels = read_images(arguments.data, "train", n), read_labels(arguments.data, "train", n)
    pixels = torch.from_numpy(np.asarray(images, np.float32).reshape(-1, 28, 28) / np.float32(255))
    classes = torch.from_numpy(np.asarray(labels, np.int64))
    if arguments.case == "rows":
        network, loss = make_rows()
    else:
        network, loss = make_lif(int(arguments.time), arguments.case == "lif_steps")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    seconds = []
    for number in range(arguments.warmup + arguments.batches):
        part = slice(number * arguments.batch, (number + 1) * arguments.batch)
        start = time.perf_counter()
        optimizer.zero_grad()
        loss(pixels[part], classes[part]).backward()
        optimizer.step()
        if number >= arguments.warmup:
            seconds.append(time.perf_counter() - start)
    report = {
        "simulator": "sinabs" if arguments.case == "rows" else "SpikingJelly",
        "case": arguments.case,
        "batch": arguments.batch,
        "batches": arguments.batches,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "seconds_per_batch": round(statistics.median(seconds), 6),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": {name: version(name) for name in ("spikingjelly", "sinabs", "torch", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
