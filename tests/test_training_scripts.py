"""The scripts that train end with one JSON line, whose keys results and benchmarks rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EVSIM_DATA", ROOT.parent / "shared" / "data")) / "mnist"
needs_mnist = pytest.mark.skipif(not DATA.is_dir(), reason=f"no MNIST files in {DATA}; EVSIM_DATA names another folder")
BEFORE, AFTER = ["test_accuracy", "test_loss", "epoch_s"], ["history", "threads", "versions"]


def run(name, *options):
    script = [sys.executable, f"scripts/{name}.py", *options, "--threads", "2", "--json"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(
    ("name", "more", "options", "accuracy"),
    [
        ("mnist_lif", ["samples_per_s"], ["--T", "20"], 0.4),
        ("mnist_rows", [], [], 0.15),
        ("mnist_cnn", [], ["--T", "2"], 0.15),
        ("mnist_eventprop", ["samples_per_s", "kept_bytes_per_sample"], [], 0.2),
    ],
)
def test_mnist(name, more, options, accuracy, tmp_path):
    samples = ["--data", str(DATA), "--samples", "1280", "--epochs", "1", "--out", str(tmp_path), *options]
    first = run(name, *samples, "--backend", "cpu")
    assert list(first) == [*BEFORE, *more, *AFTER]
    assert first["test_accuracy"] > accuracy
    assert len(first["history"]["loss"]) == 1
    again = run(name, *samples, "--resume")  # nothing is left to do
    assert again["test_accuracy"] == first["test_accuracy"]
    assert again["history"] == first["history"]


def test_two_classes(tmp_path):
    result = run("two_classes", "--epochs", "2", "--out", str(tmp_path), "--backend", "cpu")
    assert list(result) == ["accuracy", "loss", "seconds", "epochs", "versions"]
    assert result["accuracy"] > 0.6
    assert (tmp_path / "two_classes.png").exists()


def test_event_prop_says_that_it_runs_on_the_cpu():
    script = [sys.executable, "scripts/mnist_eventprop.py", "--data", ".", "--backend", "cuda"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "argument --backend: invalid choice: 'cuda'" in done.stderr
    help_text = subprocess.run([*script[:2], "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "on the CPU only" in help_text
