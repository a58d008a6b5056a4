"""A CNN for MNIST converted by sinabs' from_model: the peer of evsim's converted network.

The network is that of sinabs' MNIST example: three convolutions without bias, each with ReLU and a 2x2 average pool,
then Linear(128, 500), ReLU, Linear(500, 10); every ReLU becomes an IAF of several spikes a step that subtracts its
threshold, and one is added at the end. Test images are shown for ``--steps`` steps with a spike where a random number
is below the pixel; the states are reset for each batch. Timed is the network, not the making of its input.

``--train`` makes the weights as the example does (three epochs of Adam at 1e-4 on pixels from 0 to 255, batches of
128) and writes them to ``--weights``: arrays conv1.weight, conv2.weight, conv3.weight, linear1.weight and
linear2.weight with torch's shapes. The input spikes of a batch are, with rng = numpy.random.default_rng(seed) drawn
on from batch to batch, ``rng.random((batch, steps, 1, 28, 28), dtype=numpy.float32) < pixels[:, None] / 255``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peer_mnist import read_images, read_labels
from peer_report import add_common_arguments, peak_memory_bytes
from sinabs.from_torch import from_model
from torch import nn

INPUT_SHAPE = (1, 28, 28)
LAYERS = {"conv1": 0, "conv2": 3, "conv3": 6, "linear1": 10, "linear2": 12}  # name -> place in the network
TRAINING_IMAGES, EPOCHS, BATCH, RATE = 60_000, 3, 128, 1e-4


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST's IDX files, or (n, 28, 28) .npy")
    parser.add_argument("--weights", type=Path, required=True, help=".npz of the five weights")
    parser.add_argument("--train", action="store_true", help="train, write the weights and stop")
    parser.add_argument("--batch", type=int, default=1, help="images at once (default %(default)s)")
    parser.add_argument("--batches", type=int, default=20, help="timed ones (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="untimed batches before (default %(default)s)")
    add_common_arguments(parser, time=200.0, threads=2)
    return parser.parse_args()


def build() -> nn.Sequential:
    """The analog network."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 500, bias=False), nn.ReLU(),
        nn.Linear(500, 10, bias=False),
    )  # fmt: skip


def train(data: Path, weights: Path, seed: int) -> None:
    """Train as the example does and write the weights; print the analog network's test accuracy."""
    torch.manual_seed(seed)
    network = build()
    images = torch.from_numpy(read_images(data, "train", TRAINING_IMAGES))
    labels = torch.from_numpy(read_labels(data, "train", TRAINING_IMAGES)).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAINING_IMAGES).split(BATCH):
            loss = nn.functional.cross_entropy(network(images[batch].float()), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        predicted = network(torch.from_numpy(read_images(data, "t10k", 10_000)).float()).argmax(1).numpy()
    accuracy = float(np.mean(predicted == read_labels(data, "t10k", 10_000)))
    np.savez(weights, **{f"{name}.weight": network[place].weight.detach().numpy() for name, place in LAYERS.items()})
    print(json.dumps({"weights": str(weights), "test_accuracy": accuracy}))


def batches(arguments: argparse.Namespace, steps: int) -> Iterator[torch.Tensor]:
    """The input spikes of each batch, (batch * steps, 1, 28, 28)."""
    number = arguments.batch * (arguments.warmup + arguments.batches)
    if arguments.data.suffix == ".npy":
        images = np.load(arguments.data)[:number].reshape(-1, *INPUT_SHAPE)
    else:
        images = read_images(arguments.data, "t10k", number)
    rng = np.random.default_rng(arguments.seed)
    for pixels in np.split(images, len(images) // arguments.batch):
        shape = (arguments.batch, steps, *INPUT_SHAPE)
        spikes = rng.random(shape, dtype=np.float32) < pixels[:, None] / np.float32(255)
        yield torch.from_numpy(spikes.astype(np.float32)).flatten(0, 1)


def main() -> None:
    """Train, or build, show the images and report."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.train:
        train(arguments.data, arguments.weights, arguments.seed)
        return
    steps = int(arguments.time)
    start = time.perf_counter()
    analog = build()
    with np.load(arguments.weights) as weights:
        analog.load_state_dict(
            {f"{place}.weight": torch.from_numpy(weights[f"{name}.weight"]) for name, place in LAYERS.items()}
        )
    network = from_model(analog, INPUT_SHAPE, add_spiking_output=True, batch_size=arguments.batch)
    build_s = time.perf_counter() - start

    seconds, output_spikes = [], 0
    with torch.no_grad():
        for number, spikes in enumerate(batches(arguments, steps)):
            start = time.perf_counter()
            network.reset_states()
            output = network(spikes)
            stop = time.perf_counter()
            if number >= arguments.warmup:
                seconds.append((stop - start) / arguments.batch)
                output_spikes += int(output.sum())
    report = {
        "simulator": "sinabs",
        "batch": arguments.batch,
        "batches": arguments.batches,
        "steps": steps,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "seconds_per_sample": round(statistics.median(seconds), 6),
        "output_spikes": output_spikes,
        "build_s": round(build_s, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": {name: version(name) for name in ("sinabs", "torch", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
