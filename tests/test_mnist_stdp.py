"""The experiment on handwritten digits: it learns, and an interrupted training goes on exactly."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EVSIM_DATA", ROOT.parent / "shared" / "data")) / "mnist"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no MNIST files in {DATA}; EVSIM_DATA names another folder"),
]


def command(out, *options):
    script = [sys.executable, "scripts/mnist_stdp.py", "--data", str(DATA), "--neurons", "50", "--out", str(out)]
    return [*script, "--backend", "cpu", *options]


def test_it_learns_a_little_from_a_few_images(tmp_path):
    done = subprocess.run(command(tmp_path / "a.h5", "--small", "--json"), cwd=ROOT, capture_output=True, check=True)
    result = json.loads(done.stdout)
    assert result["test_accuracy"] > 0.3
    assert {"epoch_s", "samples_per_s", "spike_checksum", "rate_hz", "real_time_factor"} <= result.keys()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_allclose(file["weights"][()].sum(axis=0), 78.4, rtol=1e-5)
        assert file["assignments"].shape == (50,)
        assert file["confusion_matrix"][()].sum() == 200
        assert json.loads(file.attrs["result"]) == result
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "a.fields.png", "a.confusion.png"}


def test_an_interrupted_training_goes_on_exactly(tmp_path, monkeypatch):
    few = ["--samples", "120", "--label-samples", "50", "--test-samples", "50"]
    subprocess.run(command(tmp_path / "whole.h5", *few), cwd=ROOT, check=True, capture_output=True)
    out = tmp_path / "parts.h5"
    script = runpy.run_path(str(ROOT / "scripts" / "mnist_stdp.py"))
    show = script["Experiment"].show

    def interrupted(self, image):
        if self.n_shown == 70:
            self.sim.set_rate("inputs", image.ravel() * (128.0 / 255.0))
            self.sim.run(100.0)  # Ctrl-C comes in the middle of an image
            raise KeyboardInterrupt
        return show(self, image)

    monkeypatch.setattr(script["Experiment"], "show", interrupted)
    monkeypatch.setattr(sys, "argv", command(out, *few)[1:])
    with pytest.raises(SystemExit, match="interrupted after 71 images; go on with --resume"):
        script["main"]()
    assert not out.exists()
    subprocess.run(command(out, *few, "--resume"), cwd=ROOT, check=True, capture_output=True)
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(out) as parts:
        for name in ("weights", "theta", "assignments", "confusion_matrix"):
            np.testing.assert_array_equal(parts[name][()], whole[name][()])
