"""What the scripts that train do alike: options, training with a checkpoint, test, one JSON line."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from evsim.io.idx import load_mnist
from evsim.training import Trainer
from evsim.versions import versions

__all__ = ["MnistRun", "train_on_mnist", "training_parser"]

BACKENDS = ("auto", "cpu", "cuda")


def training_parser(
    doc: str | None,
    epochs: int,
    batch: int,
    lr: float,
    *,
    steps: int | None = None,
    lr_help: str = "learning rate",
    threads: int | None = None,
    backends: Sequence[str] = BACKENDS,
    out: str = "folder for pictures",
    mnist: bool = True,
) -> argparse.ArgumentParser:
    """The options of a script, described by the first line of its docstring `doc`, with these defaults.

    Parameters
    ----------
    steps : that a sample is shown (--T); None where the samples say how many.
    threads : None means all cores.
    backends : where the network can run; without "cuda" the help says so.
    out : what the folder --out is for.
    mnist : whether it learns MNIST: --data, --samples, and --resume from the checkpoint in --out.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if mnist:
        parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch, help="samples of a batch")
    if steps is not None:
        parser.add_argument("--T", type=int, default=steps, help="steps that a sample is shown")
    parser.add_argument("--lr", type=float, default=lr, help=lr_help)
    if mnist:
        parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--seed", type=int, default=1)
    shown = "all cores" if threads is None else threads
    parser.add_argument("--threads", type=int, default=threads, help=f"CPU threads (default: {shown})")
    only = "" if "cuda" in backends else ": on the CPU only"
    parser.add_argument("--backend", choices=backends, default="auto", help=f"where the network runs{only}")
    parser.add_argument("--out", type=Path, help=out)
    if mnist:
        parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser


@dataclass
class MnistRun:
    """A network that has learned MNIST.

    Attributes
    ----------
    seconds : of training.
    history : of the Trainer.
    test : loss and accuracy of the test images.
    test_images : (10000, 28, 28) uint8.
    """

    trainer: Trainer
    given: argparse.Namespace
    n_images: int
    seconds: float
    history: dict[str, list[float]]
    test: dict[str, float]
    test_images: NDArray[Any]

    @property
    def samples_per_s(self) -> float:
        """Training images a second."""
        return self.given.epochs * self.n_images / self.seconds

    def report(self, **more: Any) -> None:
        """With --json, end with one line of JSON; `more` goes before the history."""
        if not self.given.json:
            return
        result = {
            "test_accuracy": self.test["accuracy"],
            "test_loss": self.test["loss"],
            "epoch_s": self.seconds / max(self.given.epochs, 1),
            **more,
            "history": self.history,
            "threads": self.trainer.net.threads,
            "versions": versions(),
        }
        print(json.dumps(result))


def train_on_mnist(trainer: Trainer, given: argparse.Namespace, checkpoint: str) -> MnistRun:
    """Train as the options say, with a checkpoint of that name in --out; test, and print the accuracy."""
    images, labels = (array[: given.samples] for array in load_mnist(given.data, "train"))
    test_images, test_labels = load_mnist(given.data, "test")
    path = None
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / checkpoint
        if given.resume:
            trainer.resume(path)
    started = time.perf_counter()
    history = trainer.fit(images, labels, given.epochs, given.batch, checkpoint=path)
    seconds = time.perf_counter() - started
    test = trainer.evaluate(test_images, test_labels)
    print(f"test accuracy {100 * test['accuracy']:.2f} %, loss {test['loss']:.4f}")
    return MnistRun(trainer, given, len(images), seconds, history, test, test_images)
