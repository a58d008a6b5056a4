"""The converted CNN on handwritten digits: it is as good as the network it was made from, and the same each time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EVSIM_DATA", ROOT.parent / "shared" / "data")) / "mnist"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no MNIST files in {DATA}; EVSIM_DATA names another folder"),
]


def run(*options):
    script = [sys.executable, "scripts/mnist_convert.py", "--data", str(DATA), "--images", "40", "--backend", "cpu"]
    done = subprocess.run([*script, *options, "--json"], cwd=ROOT, capture_output=True, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_it_trains_converts_and_counts(tmp_path):
    pytest.importorskip("matplotlib")
    first = run("--samples", "5120", "--epochs", "1", "--T", "120", "--out", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "mnist_convert.npz", "mnist_convert.nir", "accuracy_over_time.png", "activations.png",
    }  # fmt: skip
    assert first["ann_accuracy"] > 0.5
    assert abs(first["test_accuracy"] - first["ann_accuracy"]) < 0.1
    assert first["ann_multiply_accumulates"] == 1_528_456
    assert first["energy_j"] == pytest.approx(0.9e-12 * first["synaptic_operations"])
    again = run("--weights", str(tmp_path / "mnist_convert.npz"), "--T", "120", "--threads", "1")
    for key in ("ann_accuracy", "test_accuracy", "spikes", "synaptic_operations", "energy_j", "exits"):
        assert again[key] == first[key]
