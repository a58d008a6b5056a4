"""The gradients that PyTorch finds in SpikingJelly's and sinabs' layers (tests/data/make_gradients_golden.py)."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from peer_layers import make_layer

import evsim

DATA = Path(__file__).parent / "data"
FILES = {name: np.load(DATA / f"gradients_{name}.npz") for name in ("spikingjelly", "sinabs")}
CASES = [(name, case) for name, file in FILES.items() for case in json.loads(str(file["cases"]))]


@dataclass(frozen=True)
class PeriodicExponential(evsim.Surrogate):
    """sinabs' exp(-|y| / grad_width): y = x up to the threshold, from there on twice the way to the next multiple."""

    grad_width: float = 0.5

    def curve(self, x, v_threshold):
        phase = (x / v_threshold + 0.5) % 1.0
        y = np.where(x < 0, x, v_threshold * (2 * phase - 1))
        return np.exp(-np.abs(y) / self.grad_width)


of = evsim.Surrogate.from_function
SURROGATES = {
    **{name: getattr(evsim, name) for name in ("ATan", "Sigmoid", "PiecewiseQuadratic", "SoftSign", "FastSigmoid")},
    "SingleExponential": evsim.SingleExponential,
    "PeriodicExponential": PeriodicExponential,
    "PiecewiseExp": lambda alpha: of(lambda x: alpha / 2 * math.exp(-alpha * abs(x))),
    "Erf": lambda alpha: of(lambda x: alpha / math.sqrt(math.pi) * math.exp(-((alpha * x) ** 2))),
    "Gaussian": lambda sigma: of(lambda x: math.exp(-((x / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))),
    "MultiGaussian": lambda: of(
        lambda x: (
            (1.15 * math.exp(-((x / 0.5) ** 2) / 2) / 0.5)
            - 0.15 * (math.exp(-(((x - 0.5) / 3.0) ** 2) / 2) + math.exp(-(((x + 0.5) / 3.0) ** 2) / 2)) / 3.0
        ) / math.sqrt(2 * math.pi)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("peer", "case"), CASES, ids=[f"{peer}-{case['name']}" for peer, case in CASES])
def test_gradients_are_the_peers(peer, case):
    file, name = FILES[peer], case["name"]
    layers = [make_layer(peer, file, case, number, SURROGATES) for number in range(len(case["modules"]))]
    wanted = {
        key.removeprefix(f"{name}/gradient/").replace("rec_connect", "connection"): file[key]
        for key in file
        if key.startswith(f"{name}/gradient/")
    }
    net = evsim.Sequential(*layers)
    output, backward = evsim.training.forward(net, file[f"{name}/x"], input_gradient="x" in wanted)
    expected = file[f"{name}/output"]
    np.testing.assert_allclose(output, expected, rtol=0, atol=0 if expected.dtype == np.uint8 else 1e-5)
    gradients = backward(file[f"{name}/c"])
    assert gradients.keys() == wanted.keys()
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, wanted[key], rtol=0, atol=1e-4 * np.abs(wanted[key]).max(), err_msg=key)
