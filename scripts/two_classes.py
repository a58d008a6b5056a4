"""Two classes of points: Linear(2, 10) - spiking neurons - Linear(10, 1), both layers learning by surrogate gradients.

`python scripts/two_classes.py --epochs 200 --json`

1,000 points from a normal distribution, label 1 where x0 + x1 > 0; binary cross-entropy with logits, Adam 0.01,
batches of 10. Each point is shown for T steps as a current; the output is averaged over them. The state is reset for
each batch.
"""

import json
import time
from pathlib import Path

import numpy as np

import evsim
from evsim.training_experiment import training_parser
from evsim.versions import versions


def main() -> None:
    out = "folder for a picture of the decision"
    parser = training_parser(__doc__, epochs=200, batch=10, lr=0.01, steps=10, threads=1, out=out, mnist=False)
    given = parser.parse_args()
    points, labels = draw_points(1000, given.seed)
    settings = {"seed": given.seed, "threads": given.threads, "backend": given.backend}
    net = evsim.Sequential(evsim.Linear(2, 10), evsim.SpikingNeuron(), evsim.Linear(10, 1), **settings)

    def encode(x: np.ndarray, _first: int) -> evsim.RepeatedInput:
        return evsim.encoders.repeat(x, given.T)

    trainer = evsim.Trainer(net, evsim.BCEWithLogits(), evsim.Adam(lr=given.lr), encoder=encode, seed=given.seed)
    started = time.perf_counter()
    history = trainer.fit(points, labels, given.epochs, given.batch)
    seconds = time.perf_counter() - started
    fresh = trainer.evaluate(*draw_points(1000, given.seed + 1))
    print(f"accuracy on 1,000 fresh points {100 * fresh['accuracy']:.1f} %, loss {fresh['loss']:.4f}")
    if given.out:
        draw_decision(trainer, given.out)
    if given.json:
        result = {
            "accuracy": fresh["accuracy"],
            "loss": history["loss"][-1],
            "seconds": seconds,
            "epochs": given.epochs,
            "versions": versions(),
        }
        print(json.dumps(result))


def draw_points(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n points (n, 2) and their labels (n, 1)."""
    x = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    return x, (x.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def draw_decision(trainer: evsim.Trainer, folder: Path) -> None:
    """What the network gives over the plane, and 300 points of each class."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    axis_values = np.linspace(-3.0, 3.0, 61, dtype=np.float32)
    plane = np.stack(np.meshgrid(axis_values, axis_values), axis=-1).reshape(-1, 2)
    trainer.net.reset()
    logit = trainer.net(trainer.encoder(plane, 0)).mean(axis=0).reshape(61, 61)
    points, labels = draw_points(600, 5)
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    top = float(np.abs(logit).max())
    shown = axes.imshow(
        logit, origin="lower", extent=(-3, 3, -3, 3), cmap="RdBu_r", vmin=-top, vmax=top, aspect="equal"
    )
    figure.colorbar(shown, label="logit")
    for label, marker in ((0, "o"), (1, "^")):
        own = points[labels[:, 0] == label]
        axes.scatter(own[:, 0], own[:, 1], s=10, marker=marker, color="black", alpha=0.6, label=f"label {label}")
    axes.set(xlabel="x0", ylabel="x1", xlim=(-3, 3), ylim=(-3, 3))
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(folder / "two_classes.png", dpi=150)


if __name__ == "__main__":
    main()
