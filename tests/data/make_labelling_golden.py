"""Make bindsnet_labelling.npz: BindsNET's labels of neurons and its predictions for random spikes.

Run with the Python of the second peers' environment::

    .venv-peers-torch/bin/python tests/data/make_labelling_golden.py

30 neurons, some of them silent, each prefer a class; there is at most one spike a step. BindsNET breaks ties between
the classes of a neuron with noise, so there are none here, which is asserted. Where evsim differs from BindsNET:

- BindsNET's ngram never looks at the last n-gram of a sample. Here every sample ends with a spike of one more neuron,
  so that only n-grams with this neuron, which are in no table, are left out.
- For a sample without spikes BindsNET predicts -1 with all_activity and proportion_weighting, and 0 with ngram.

Arrays: n_classes; spikes (n_samples, n_steps, n_neurons) bool and labels (n_samples,), of which are made assignments
(n_neurons,), proportions (n_neurons, n_classes), and ngrams (n_ngrams, 2) in ascending order with ngram_counts
(n_ngrams, n_classes); new_spikes, for which are predicted all_activity, proportion_weighting and ngram.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from bindsnet.evaluation import all_activity, assign_labels, ngram, proportion_weighting, update_ngram_scores

N_CLASSES, N_NEURONS, N_STEPS, N = 5, 30, 60, 2
SILENT = [3, 17]  # neurons


def draw_spikes(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Spikes (n_samples, N_STEPS, N_NEURONS): neuron i spikes most for class i % N_CLASSES."""
    spikes = np.zeros((len(labels), N_STEPS, N_NEURONS), bool)
    for sample, label in zip(spikes, labels, strict=True):
        chance = np.where(np.arange(N_NEURONS) % N_CLASSES == label, 2.0, 1.0) * rng.uniform(0.5, 1.5, N_NEURONS)
        chance[SILENT] = 0.0
        for step in np.flatnonzero(rng.random(N_STEPS) < 0.5):
            sample[step, rng.choice(N_NEURONS, p=chance / chance.sum())] = True
    return spikes


def main() -> None:
    """Draw the spikes, let BindsNET label and predict, and write the file."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    labels = rng.integers(N_CLASSES, size=60)
    spikes = draw_spikes(rng, labels)
    new_labels = rng.integers(N_CLASSES, size=40)
    new_spikes = draw_spikes(rng, new_labels)
    new_spikes[7] = False

    train, new = torch.from_numpy(spikes), torch.from_numpy(new_spikes)
    assignments, proportions, rates = assign_labels(train, torch.from_numpy(labels), N_CLASSES)
    best = np.sort(rates.numpy(), axis=1)
    assert np.all((best[:, -1] > best[:, -2] + 1e-3) | (best[:, -1] == 0.0)), "a tie; take another seed"
    scores = update_ngram_scores(train, torch.from_numpy(labels), N_CLASSES, N, {})
    ended = torch.zeros((len(new), N_STEPS + 1, N_NEURONS + 1), dtype=torch.bool)
    ended[:, :N_STEPS, :N_NEURONS] = new
    ended[:, N_STEPS, N_NEURONS] = True
    predictions = {
        "all_activity": all_activity(new, assignments, N_CLASSES).numpy(),
        "proportion_weighting": proportion_weighting(new, assignments, proportions, N_CLASSES).numpy(),
        "ngram": ngram(ended, scores, N_CLASSES, N).numpy(),
    }
    for name, predicted in predictions.items():
        print(f"{name}: {np.mean(predicted == new_labels):.2f} correct")

    path = Path(__file__).with_name("bindsnet_labelling.npz")
    ngrams = sorted(scores)
    np.savez_compressed(
        path,
        n_classes=N_CLASSES,
        spikes=spikes,
        labels=labels,
        assignments=assignments.numpy(),
        proportions=proportions.numpy(),
        ngrams=np.array(ngrams),
        ngram_counts=np.array([scores[key].numpy() for key in ngrams]).astype(int),
        new_spikes=new_spikes,
        **predictions,
    )
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
