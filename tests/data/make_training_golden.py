"""Make training.npz: surrogate derivatives, losses and optimisers of SpikingJelly, sinabs, snnTorch and PyTorch.

Run with the peers' Python::

    .venv-peers-layers/bin/python tests/data/make_training_golden.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import snntorch.surrogate as snntorch
import torch
from sinabs.activation import SingleExponential
from spikingjelly.activation_based import surrogate as spikingjelly

THRESHOLDS = (1.0, 0.4)
SURROGATES = {
    "ATan": (spikingjelly.ATan, {"alpha": [2.0, 0.7]}),
    "Sigmoid": (spikingjelly.Sigmoid, {"alpha": [4.0, 1.5]}),
    "PiecewiseQuadratic": (spikingjelly.PiecewiseQuadratic, {"alpha": [1.0, 2.5]}),
    "SoftSign": (spikingjelly.SoftSign, {"alpha": [2.0, 5.0]}),
    "FastSigmoid": (snntorch.fast_sigmoid, {"slope": [25.0, 3.0]}),
    "StraightThrough": (snntorch.straight_through_estimator, {}),
    "SingleExponential": (SingleExponential, {"grad_width": [0.5, 1.5], "grad_scale": [1.0, 0.3]}),
}


def surrogates() -> dict[str, Any]:
    """surrogate/h (40,); surrogate/<class>/<i> (2, 40): d spike / d h at both THRESHOLDS, for the i-th parameters."""
    h = torch.cat([torch.linspace(-2.0, 3.5, 38, dtype=torch.float64), torch.tensor([-30.0, 60.0])])
    arrays: dict[str, Any] = {"surrogate/h": h.numpy(), "surrogate/v_threshold": np.array(THRESHOLDS)}
    cases = []
    for name, (peer, choices) in SURROGATES.items():
        for i in range(max((len(values) for values in choices.values()), default=1)):
            kwargs = {key: values[i] for key, values in choices.items()}
            cases.append({"class": name, "kwargs": kwargs, "key": f"surrogate/{name}/{i}"})
            function = peer(**kwargs)
            rows = []
            for threshold in THRESHOLDS:
                if name == "SingleExponential":  # sinabs gives the derivative itself
                    rows.append(function(h, threshold))
                    continue
                x = (h - threshold).requires_grad_()
                function(x).sum().backward()
                rows.append(x.grad)
            arrays[f"surrogate/{name}/{i}"] = torch.stack(rows).numpy()
    arrays["surrogates"] = json.dumps(cases)
    return arrays


def main() -> None:
    """Write the file."""
    packages = ("torch", "spikingjelly", "sinabs", "snntorch")
    arrays = {"versions": json.dumps({name: version(name) for name in packages}), **surrogates()}
    np.savez_compressed(Path(__file__).parent / "training.npz", **arrays)


if __name__ == "__main__":
    main()
