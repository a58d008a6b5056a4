"""Make encoders_spikingjelly.npz: the spikes of SpikingJelly's latency and weighted-phase encoders.

Run with the Python of the second peers' environment::

    .venv-peers-torch/bin/python tests/data/make_encoders_golden.py

Arrays: x (2, 150) float32 in [0, 1] and latency_steps, the numbers of steps T; latency_linear_<T> and latency_log_<T>
(2, 150), the step of each spike. phases, the numbers of phases K; for each phase_x_<K> (2, 150) float32, and phase_<K>,
the packed bits of the spikes (2 K + 1, 2, 150).

SpikingJelly's log formula is in float32, where its alpha overflows from 90 steps on; evsim's is in float64. x stays
away from the ties between two steps, which is asserted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import encoding

LATENCY_STEPS, PHASES = (1, 2, 5, 20, 60), (1, 3, 8, 20)


def run(encoder: encoding.StatefulEncoder, x: np.ndarray, n_steps: int) -> np.ndarray:
    """Spikes (n_steps, *x.shape)."""
    return np.stack([encoder(torch.from_numpy(x)).numpy() for _ in range(n_steps)])


def main() -> None:
    """Encode, and write the file."""
    rng = np.random.default_rng(1)
    x = rng.random((2, 150), np.float32)
    x[0, :3] = 0.0, 0.5, 1.0
    arrays = {"x": x, "latency_steps": LATENCY_STEPS, "phases": PHASES}
    for n_steps in LATENCY_STEPS:
        log = n_steps - 1 - np.log(np.expm1(n_steps - 1.0) * x.astype(float) + 1)
        assert np.abs(np.abs(log - np.rint(log)) - 0.5).min() > 1e-5, "a tie; take another seed"
        for kind in ("linear", "log"):
            spikes = run(encoding.LatencyEncoder(n_steps, kind), x, n_steps)
            assert np.all(spikes.sum(axis=0) == 1)
            arrays[f"latency_{kind}_{n_steps}"] = spikes.argmax(axis=0).astype(np.uint8)
    for k in PHASES:
        phase_x = np.minimum(rng.random((2, 150), np.float32), np.float32(1 - 2.0**-k))
        arrays[f"phase_x_{k}"] = phase_x
        arrays[f"phase_{k}"] = np.packbits(run(encoding.WeightedPhaseEncoder(k), phase_x, 2 * k + 1).astype(bool))
    path = Path(__file__).with_name("encoders_spikingjelly.npz")
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
