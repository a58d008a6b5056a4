"""scripts/neurons.py: the tour of the neuron document."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_tour_shows_what_it_says(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, "scripts/neurons.py", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "one step of x (4, 5, 6): v has shape (4, 5, 6)" in done.stdout
    assert "input 0.5 for 150 steps: 75 spikes" in done.stdout
    assert "hard reset, input 0.3 for 60 steps: 15 spikes" in done.stdout
    assert "soft reset, input 0.3 for 60 steps: 18 spikes" in done.stdout
    assert "one-step and multi-step mode give the same: True" in done.stdout
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"one_neuron.png", "many_neurons_v.png", "many_neurons_spikes.png", "soft_reset.png"}
