"""Unsupervised learning of MNIST in BindsNET: the peer of evsim's own Diehl & Cook benchmark.

BindsNET's DiehlAndCook2015 with its default parameters: 784 inputs, 400 excitatory and 400 inhibitory neurons, PostPre
on the input synapses. Each of the first training images is shown once for 250 steps of 1 ms as Poisson spikes of up
to 128 Hz, after which the weights are normalised and the state is reset, as in BindsNET's own MNIST example. ``--time``
is the time of one image; the reported time is that of all timed images. The spikes of both layers are always
recorded, since labels are made of them; the time of the encoding is part of run_s, and also given by itself.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from bindsnet.encoding import poisson
from bindsnet.models import DiehlAndCook2015
from bindsnet.network import Network
from bindsnet.network.monitors import Monitor
from peer_mnist import read_images
from peer_report import add_common_arguments, peak_memory_bytes, print_report

INPUTS = 784
INTENSITY = 128.0  # Hz of a white pixel
LAYERS = {"exc": "Ae", "inh": "Ai"}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's train-images-idx3-ubyte[.gz]")
    parser.add_argument("--neurons", type=int, default=400, help="excitatory ones (default %(default)s)")
    parser.add_argument("--samples", type=int, default=50, help="timed images (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=5, help="untimed images before (default %(default)s)")
    add_common_arguments(parser, time=250.0, threads=2)
    parser.set_defaults(record=True)
    return parser.parse_args()


def build(arguments: argparse.Namespace) -> tuple[Network, dict[str, Monitor]]:
    """Create the network; return it and the spike monitors of its layers."""
    network = DiehlAndCook2015(n_inpt=INPUTS, n_neurons=arguments.neurons, inpt_shape=(1, 28, 28))
    monitors = {}
    for name, layer in LAYERS.items():
        monitors[name] = Monitor(network.layers[layer], state_vars=["s"], time=int(arguments.time))
        network.add_monitor(monitors[name], name=name)
    return network, monitors


def main() -> None:
    """Build, show the images and report."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = time.perf_counter()
    pixels = read_images(arguments.data, "train", arguments.warmup + arguments.samples)
    images = torch.from_numpy(pixels.astype(np.float32))
    network, monitors = build(arguments)
    build_s = time.perf_counter() - start

    encode_s = run_s = 0.0
    spikes = dict.fromkeys(("input", *LAYERS), 0)
    for number, image in enumerate(images):
        start = time.perf_counter()
        encoded = poisson(image / 255.0 * INTENSITY, time=int(arguments.time))
        middle = time.perf_counter()
        network.run(inputs={"X": encoded}, time=int(arguments.time))
        counts = {name: int(monitor.get("s").sum()) for name, monitor in monitors.items()}
        network.reset_state_variables()
        stop = time.perf_counter()
        if number < arguments.warmup:
            build_s += stop - start
            continue
        encode_s += middle - start
        run_s += stop - start
        for name, count in {"input": int(encoded.sum()), **counts}.items():
            spikes[name] += count

    n = arguments.neurons
    seconds = arguments.samples * arguments.time * 1e-3
    sizes = {"input": INPUTS, "exc": n, "inh": n}
    fan_out = {"input": n, "exc": 1, "inh": n - 1}
    sample_ms = arguments.time
    arguments.time *= arguments.samples
    print_report(
        arguments,
        simulator="BindsNET",
        packages=("bindsnet", "torch", "numpy"),
        neurons=sum(sizes.values()),
        synapses=sum(sizes[name] * fan_out[name] for name in sizes),
        spikes=sum(spikes.values()),
        events=sum(spikes[name] * fan_out[name] for name in sizes),
        rate_hz={name: spikes[name] / sizes[name] / seconds for name in sizes},
        build_s=build_s,
        run_s=run_s,
        memory_bytes=peak_memory_bytes(),
        samples=arguments.samples,
        sample_ms=sample_ms,
        encode_s=round(encode_s, 4),
        seconds_per_sample=round(run_s / arguments.samples, 5),
    )


if __name__ == "__main__":
    main()
