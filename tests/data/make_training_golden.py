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
from torch.nn import functional

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
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.01, "betas": (0.3, 0.9), "weight_decay": 0.5}),
]
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 8}),
    ("CosineAnnealingLR", {"T_max": 11, "floor": 0.2}),
]


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


def losses() -> dict[str, Any]:
    """losses/spikes, /analog (T, B, N), /classes (B,), /wanted (B, N); losses/<case>/value and /gradient by output."""
    random = np.random.default_rng(2)
    t, b, n = 7, 5, 4
    spikes = torch.tensor(random.random((t, b, n)) < 0.4, dtype=torch.float64)
    analog = torch.tensor(random.normal(0.0, 2.0, (t, b, n)))
    classes, wanted = torch.tensor([0, 3, 1, 1, 2]), torch.tensor(random.random((b, n)))
    one_hot = functional.one_hot(classes, n).double()
    bce = functional.binary_cross_entropy_with_logits
    cases = {
        "RateMSE": (spikes, lambda x: functional.mse_loss(x.mean(0), one_hot)),
        "RateMSE-wanted": (spikes, lambda x: functional.mse_loss(x.mean(0), wanted)),
        "RateCrossEntropy": (spikes, lambda x: functional.cross_entropy(x.mean(0), classes)),
        "CountCrossEntropy": (spikes, lambda x: functional.cross_entropy(x.sum(0), classes)),
        "MeanCrossEntropy": (analog, lambda x: functional.cross_entropy(x.mean(0), classes)),
        "BCEWithLogits-mean": (analog, lambda x: bce(x.mean(0), wanted)),
        "BCEWithLogits-sum": (analog, lambda x: bce(x.sum(0), one_hot)),
        "BCEWithLogits-one": (analog[..., :1], lambda x: bce(x.sum(0).view(-1), wanted[:, 0])),
    }
    arrays = {
        "losses/spikes": spikes.to(torch.uint8).numpy(),
        "losses/analog": analog.numpy(),
        "losses/classes": classes.numpy(),
        "losses/wanted": wanted.numpy(),
    }
    for name, (output, loss) in cases.items():
        x = output.clone().requires_grad_()
        value = loss(x)
        value.backward()
        arrays |= {f"losses/{name}/value": value.item(), f"losses/{name}/gradient": x.grad.numpy()}
    return arrays


def optimizers() -> dict[str, Any]:
    """optimizers/<name> (2,) + (<name>.size,): after each of ten steps with optimizers/gradients; and those clipped."""
    random = np.random.default_rng(3)
    start = {"weight": random.normal(0.0, 0.5, (4, 3)), "bias": random.normal(0.0, 0.5, 4)}
    start = {name: value.astype(np.float32) for name, value in start.items()}
    scale = 10.0 ** random.uniform(-3.0, 1.0, 10)
    gradients = {
        name: scale[(...,) + (None,) * v.ndim] * random.normal(size=(10, *v.shape)) for name, v in start.items()
    }
    gradients = {name: value.astype(np.float32) for name, value in gradients.items()}
    arrays: dict[str, Any] = {f"optimizers/start/{name}": value for name, value in start.items()}
    arrays |= {f"optimizers/gradients/{name}": value for name, value in gradients.items()}
    for i, (kind, kwargs) in enumerate(OPTIMIZERS):
        parameters = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
        optimizer = getattr(torch.optim, kind)(parameters.values(), **kwargs)
        steps: dict[str, list[Any]] = {name: [] for name in start}
        for step in range(10):
            for name, parameter in parameters.items():
                parameter.grad = torch.tensor(gradients[name][step])
            optimizer.step()
            for name, parameter in parameters.items():
                steps[name].append(parameter.detach().numpy().copy())
        arrays |= {f"optimizers/{i}/{name}": np.stack(values) for name, values in steps.items()}
    for max_norm in (1.0, 1000.0):
        clipped = {name: torch.zeros(value[0].shape, requires_grad=True) for name, value in gradients.items()}
        for name, parameter in clipped.items():
            parameter.grad = torch.tensor(gradients[name][0])
        torch.nn.utils.clip_grad_norm_(clipped.values(), max_norm)
        arrays |= {f"optimizers/clipped/{max_norm:g}/{name}": p.grad.numpy() for name, p in clipped.items()}
    arrays["optimizers"] = json.dumps(OPTIMIZERS)
    return arrays


def schedules() -> dict[str, Any]:
    """schedules/<i> (12,): lr / 0.5 in each epoch, for SCHEDULES[i]."""
    arrays: dict[str, Any] = {"schedules": json.dumps(SCHEDULES)}
    for i, (kind, kwargs) in enumerate(SCHEDULES):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        given = {("eta_min" if key == "floor" else key): value for key, value in kwargs.items()}
        if "eta_min" in given:
            given["eta_min"] *= 0.5  # an lr there, a share of it here
        scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **given)
        factors = []
        for _ in range(12):
            factors.append(optimizer.param_groups[0]["lr"] / 0.5)
            optimizer.step()
            scheduler.step()
        arrays[f"schedules/{i}"] = np.array(factors)
    return arrays


def main() -> None:
    """Write the file."""
    packages = ("torch", "spikingjelly", "sinabs", "snntorch")
    arrays = {"versions": json.dumps({name: version(name) for name in packages}), **surrogates(), **losses()}
    arrays |= {**optimizers(), **schedules()}
    np.savez_compressed(Path(__file__).parent / "training.npz", **arrays)


if __name__ == "__main__":
    main()
