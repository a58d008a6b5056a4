"""Learning: a Brunel network with plastic synapses against itself without, NEST and Brian2; MNIST against BindsNET.

10,000 neurons at about 10 Hz, 6.4 of its 10 million synapses learn (exc to exc, additive pair STDP). Goals on two
cores: at most 3 times the time of the same network without learning, 10 times NEST, 5 times Brian2 (C++ standalone).
Diehl & Cook's network with 400 neurons, 250 steps an image: 150 times BindsNET's images a second.
"""

import sys
import tempfile
from pathlib import Path

from common import TORCH_PEERS, evsim_run, finish, last_json, median, parser, peer_run

RATE = "10600"  # Hz, Poisson input of each neuron


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--time", type=float, default=1000.0, help="model time, ms")
    options.add_argument("--data", type=Path, help="folder with the MNIST files; without it no images are learned")
    options.add_argument("--samples", type=int, default=60_000, help="images that evsim learns; BindsNET learns 50")
    options.add_argument("--without-peers", action="store_true")
    given = options.parse_args()
    common = ["--rate", RATE, "--time", str(given.time), "--threads", str(given.threads)]
    plain, plastic, nest, brian2, images, bindsnet = [], [], [], [], [], []
    for _ in range(given.repeat):
        plain.append(evsim_run("brunel", "--warmup", "100", *common))
        plastic.append(evsim_run("brunel", "--warmup", "100", "--plastic", *common))
        if given.data:
            images.append(learn_images(given.data, given.samples))
        if not given.without_peers:
            nest.append(peer_run("nest_stdp.py", *common))
            brian2.append(peer_run("brian2_stdp.py", *common))
            if given.data:  # the best number of threads is not that of the cores, which evsim knows
                for threads in ("1", str(given.threads)):
                    arguments = ["--data", str(given.data), "--threads", threads]
                    bindsnet.append(peer_run("bindsnet_mnist.py", *arguments, environment=TORCH_PEERS))
    result = {"benchmark": "stdp", **plastic[0], "run_s": median(plastic, "run_s")}
    result["cost_of_learning"] = result["run_s"] / median(plain, "run_s")
    for name, runs in (("nest", nest), ("brian2", brian2)):
        if runs:
            result[name] = {**runs[0], "run_s": median(runs, "run_s")}
            result[f"speedup_{name}"] = result[name]["run_s"] / result["run_s"]
    if images:
        result["samples_per_s"] = median(images, "samples_per_s")
    if bindsnet:
        best = min(bindsnet, key=lambda run: run["seconds_per_sample"])
        same = [run for run in bindsnet if run["threads"] == best["threads"]]
        result["bindsnet"] = {**best, "seconds_per_sample": median(same, "seconds_per_sample")}
        result["speedup_bindsnet"] = result["samples_per_s"] * result["bindsnet"]["seconds_per_sample"]
    finish(result, given.out)


def learn_images(data: Path, samples: int) -> dict[str, float]:
    """The script's result, with the number of threads that evsim takes."""
    with tempfile.TemporaryDirectory() as folder:
        few = ["--samples", str(samples), "--label-samples", "20", "--test-samples", "20", "--backend", "cpu"]
        out = ["--out", f"{folder}/out.h5", "--json"]
        return last_json([sys.executable, "scripts/mnist_stdp.py", "--data", str(data), *few, *out])


if __name__ == "__main__":
    main()
