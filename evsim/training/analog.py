"""Training of ordinary networks, to be converted afterwards: backpropagation in NumPy, for small networks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from evsim import checks
from evsim.analog import AnalogNetwork, as_images, columns, padded, windows
from evsim.batches import shuffled
from evsim.layers import Connection, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pool
from evsim.training.losses import CountCrossEntropy
from evsim.training.optimizers import Optimizer

__all__ = ["fit_analog"]

F4 = NDArray[np.float32]


def fit_analog(
    ann: AnalogNetwork, x: Any, y: Any, epochs: int, optimizer: Optimizer, batch_size: int = 128, seed: int = 0
) -> list[float]:
    """Train an ordinary network to classify, by cross-entropy; its weights change.

    Parameters
    ----------
    ann : whose output (B, classes) are logits.
    x, y : (N, ...) samples and (N,) their classes.
    epochs : times that all samples are gone through.
    optimizer : SGD, Adam, AdamW.
    batch_size : samples of a batch.
    seed : of the order of samples, another in each epoch.

    Returns
    -------
    The mean loss of each epoch.

    Raises
    ------
    ValueError : not as many labels as samples, shapes that do not fit.
    """
    labels = np.asarray(y)
    size = checks.size("fit_analog", "batch_size", batch_size, 1)
    if labels.shape != (len(x),):
        raise ValueError(f"fit_analog: there are {len(x)} samples, y has shape {labels.shape}; it must be (N,)")
    losses = []
    for epoch in range(epochs):
        order, total = shuffled(len(x), seed, epoch), 0.0
        for first in tqdm(range(0, len(x), size), desc=f"epoch {epoch + 1}", unit="batch", disable=None):
            chosen = order[first : first + size]
            loss, gradients = loss_gradients(ann, np.asarray(x[chosen], np.float32), labels[chosen])
            parameters = optimizer.update(ann.parameters(), gradients)
            ann.load_parameters(parameters)
            total += loss * len(chosen)
        losses.append(total / len(x))
    return losses


def loss_gradients(ann: AnalogNetwork, x: F4, labels: NDArray[Any]) -> tuple[float, dict[str, F4]]:
    """The mean cross-entropy of a batch, and its gradients by the names of `AnalogNetwork.parameters`."""
    values = [x, *ann.activations(x)]
    loss, gradient = CountCrossEntropy()(values[-1][np.newaxis], labels)
    dy: F4 = gradient[0]
    made: dict[str, F4] = {}
    for index in range(len(ann.layers) - 1, -1, -1):
        layer, name = ann.layers[index], ann.names[index]
        if isinstance(layer, Connection) and layer.bias is not None:
            made[f"{name}.bias"] = dy.sum(axis=(0, *range(2, dy.ndim)))
        if isinstance(layer, Connection):
            made[f"{name}.weight"] = _weight_gradient(layer, values[index], dy)
        if index:
            dy = _backward(layer, values[index], values[index + 1], dy)
    return loss, made


def _weight_gradient(layer: Connection, x: F4, dy: F4) -> F4:
    if isinstance(layer, Linear):
        return dy.T @ x
    assert isinstance(layer, Conv2d)
    targets = np.moveaxis(dy, 1, -1).reshape(-1, layer.groups, layer.out_channels // layer.groups)
    own = [targets[:, g].T @ seen for g, seen in enumerate(columns(layer, x))]
    return np.concatenate(own).reshape(layer.weight.shape)


def _backward(layer: Layer, x: F4, y: F4, dy: F4) -> F4:
    """The gradient by a layer's input."""
    if isinstance(layer, Linear):
        return dy @ layer.weight
    if isinstance(layer, Flatten):
        return dy.reshape(x.shape)
    if isinstance(layer, Conv2d):
        kernel, targets = layer.kernel(), as_images(dy)
        share = len(kernel) // layer.groups
        parts = [
            np.tensordot(targets[:, g * share : (g + 1) * share], kernel[g * share : (g + 1) * share], ((1,), (0,)))
            for g in range(layer.groups)
        ]  # (B, rows, columns, channels of a group, kernel rows, kernel columns)
        spread = np.concatenate(parts, axis=3).transpose(0, 3, 1, 2, 4, 5)
        made = _put_back(spread, as_images(x).shape, layer.stride, layer.padding, layer.dilation)
        return made.reshape(x.shape)
    if isinstance(layer, Pool):
        seen = windows(padded(x, layer.padding, -np.inf), layer.kernel_size, layer.stride)
        if isinstance(layer, MaxPool2d):  # the first of equal ones takes it all
            flat = seen.reshape(*seen.shape[:4], -1)
            best = np.arange(flat.shape[-1]) == flat.argmax(axis=-1)[..., np.newaxis]
            spread = (best * dy[..., np.newaxis]).reshape(seen.shape)
        else:
            spread = np.broadcast_to((dy * np.float32(layer.scale))[..., np.newaxis, np.newaxis], seen.shape)
        return _put_back(spread, x.shape, layer.stride, layer.padding, (1, 1))
    return dy * (y > 0)  # ReLU


def _put_back(
    spread: F4, shape: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> F4:
    """The sum of windows (B, C, rows, columns, kernel rows, kernel columns) at the places that they were taken from."""
    rows, columns, kernel_rows, kernel_columns = spread.shape[2:]
    made = np.zeros((*shape[:2], shape[2] + 2 * padding[0], shape[3] + 2 * padding[1]), np.float32)
    for a in range(kernel_rows):
        for b in range(kernel_columns):
            top, left = a * dilation[0], b * dilation[1]
            below, right = top + stride[0] * (rows - 1) + 1, left + stride[1] * (columns - 1) + 1
            made[:, :, top : below : stride[0], left : right : stride[1]] += spread[..., a, b]
    return made[:, :, padding[0] : padding[0] + shape[2], padding[1] : padding[1] + shape[3]]
