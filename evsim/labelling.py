"""Classes for neurons that learned without labels, and predictions from their spikes. Plain NumPy.

`responses` (n_samples, n_neurons) holds the spike counts (or rates) of every neuron for every sample. Classes are
0 to n_classes - 1; NONE (-1) stands for no class: of a neuron that never spiked, and of the prediction for a sample
that no labelled neuron responded to. Equal scores go to the lowest class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NONE = -1


def assign_labels(responses: np.ndarray, labels: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each neuron the class it responds to most.

        m_ic = mean of responses_si over the samples s of class c (0 where a class has none)
        a_i  = argmax_c m_ic,    p_ic = m_ic / sum_d m_id

    Source: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99; the proportions p are BindsNET's.

    Parameters
    ----------
    responses
        (n_samples, n_neurons) spike counts of the labelled samples.
    labels
        (n_samples,) their classes.
    n_classes
        Number of classes.

    Returns
    -------
    assignments : (n_neurons,) int64, NONE for neurons without a spike. proportions : (n_neurons, n_classes) float64,
    rows sum to 1, or are 0 for neurons without a spike.

    Raises
    ------
    ValueError : arrays of the wrong shape, negative or non-finite responses, a class out of range.
    """
    responses = _checked_responses(responses)
    labels = _checked_classes("labels", labels, n_classes, len(responses), "sample of responses")
    members = [labels == c for c in range(n_classes)]
    means = np.stack([responses[of].sum(axis=0) / max(1, np.count_nonzero(of)) for of in members], axis=1)
    total = means.sum(axis=1, keepdims=True)
    assignments = np.where(total[:, 0] > 0, means.argmax(axis=1), NONE)
    return assignments, np.divide(means, total, out=np.zeros_like(means), where=total > 0)


def predict_all_activity(responses: np.ndarray, assignments: np.ndarray, n_classes: int) -> np.ndarray:
    """Predict the class whose neurons respond most on average: argmax_c of mean_{i: a_i = c} responses_si.

    Source: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99; BindsNET's all_activity.

    Parameters
    ----------
    responses
        (n_samples, n_neurons) spike counts.
    assignments
        (n_neurons,) class of each neuron or NONE, from `assign_labels`.
    n_classes
        Number of classes.

    Returns
    -------
    (n_samples,) int64, NONE for samples without a spike of a labelled neuron.

    Raises
    ------
    ValueError : arrays of the wrong shape, negative or non-finite responses, a class out of range.
    """
    responses = _checked_responses(responses)
    assignments = _checked_assignments(assignments, n_classes, responses)
    return _best(_class_means(responses, np.ones((responses.shape[1], n_classes)), assignments))


def predict_proportion(responses: np.ndarray, assignments: np.ndarray, proportions: np.ndarray) -> np.ndarray:
    """Predict as `predict_all_activity`, each neuron weighted by how much of its activity belongs to its class.

        prediction_s = argmax_c of mean_{i: a_i = c} p_ic responses_si

    Source: BindsNET's proportion_weighting.

    Parameters
    ----------
    responses
        (n_samples, n_neurons) spike counts.
    assignments, proportions
        (n_neurons,) and (n_neurons, n_classes), from `assign_labels`.

    Returns
    -------
    (n_samples,) int64, NONE for samples without a spike of a labelled neuron.

    Raises
    ------
    ValueError : arrays of the wrong shape, negative or non-finite responses or proportions, a class out of range.
    """
    responses = _checked_responses(responses)
    proportions = _checked_responses(proportions, "proportions", "(n_neurons, n_classes)")
    if len(proportions) != responses.shape[1]:
        raise ValueError(
            f"proportions has {len(proportions)} rows; "
            f"it must have {responses.shape[1]}, one for each neuron of responses"
        )
    assignments = _checked_assignments(assignments, proportions.shape[1], responses)
    return _best(_class_means(responses, proportions, assignments))


def firing_order(ids: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Neurons in the order of their spikes: by time, and by neuron among simultaneous ones.

    Parameters
    ----------
    ids, times
        (n,) neuron and time of each spike of one sample.

    Returns
    -------
    (n,) neurons, for `ngram_table` and `predict_ngram`.

    Raises
    ------
    ValueError : ids and times differ in length.
    """
    ids, times = np.asarray(ids), np.asarray(times)
    if ids.ndim != 1 or ids.shape != times.shape:
        raise ValueError(f"ids {ids.shape} and times {times.shape} must be one-dimensional and of one length")
    return ids[np.lexsort((ids, times))]


def ngram_table(
    trains: Sequence[np.ndarray], labels: np.ndarray, n_classes: int, n: int = 2
) -> dict[tuple[int, ...], np.ndarray]:
    """Count for each class the n-grams of its samples: the neurons of n successive spikes.

    Source: BindsNET's update_ngram_scores, where of several neurons that spike in one step each takes its turn in
    n-grams over n steps; here simultaneous spikes follow each other, by neuron. With at most one spike a step both
    are the same.

    Parameters
    ----------
    trains
        (n_samples,) arrays of neurons in the order of their spikes, from `firing_order`.
    labels
        (n_samples,) their classes.
    n_classes
        Number of classes.
    n
        Spikes of an n-gram, at least 1.

    Returns
    -------
    n-gram -> (n_classes,) int64, how often it was seen in samples of each class.

    Raises
    ------
    ValueError : n below 1, a train that is not a row of neurons, a class out of range.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an n-gram has at least 1 spike")
    labels = _checked_classes("labels", labels, n_classes, len(trains), "train")
    table: dict[tuple[int, ...], np.ndarray] = {}
    for s, label in enumerate(labels):
        for ngram in _ngrams(trains, s, n):
            table.setdefault(ngram, np.zeros(n_classes, np.int64))[label] += 1
    return table


def predict_ngram(trains: Sequence[np.ndarray], table: Mapping[tuple[int, ...], np.ndarray]) -> np.ndarray:
    """Predict the class in which the n-grams of a sample were seen most often.

        prediction_s = argmax_c of the sum over the n-grams g of train s of table[g][c]

    Source: BindsNET's ngram, which leaves out the last n-gram of every train, and predicts 0 instead of NONE.

    Parameters
    ----------
    trains
        (n_samples,) arrays of neurons in the order of their spikes, from `firing_order`.
    table
        From `ngram_table`.

    Returns
    -------
    (n_samples,) int64, NONE for samples without an n-gram of the table.

    Raises
    ------
    ValueError : a train that is not a row of neurons, a table whose n-grams differ in length.
    """
    lengths = sorted({len(ngram) for ngram in table})
    if len(lengths) > 1:
        raise ValueError(f"table has n-grams of {lengths} spikes; they must be of one length")
    predictions = np.full(len(trains), NONE)
    for s in range(len(trains) if table else 0):
        seen = [table[ngram] for ngram in _ngrams(trains, s, lengths[0]) if ngram in table]
        if seen:
            predictions[s] = np.sum(seen, axis=0).argmax()
    return predictions


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of the samples that are predicted correctly; NONE is a wrong prediction.

    Parameters
    ----------
    labels, predictions
        (n_samples,) classes.

    Raises
    ------
    ValueError : no samples, or arrays that differ in shape.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or len(labels) == 0:
        raise ValueError(
            f"labels {labels.shape} and predictions {predictions.shape} must be one-dimensional, "
            "of one length and not empty"
        )
    return float(np.mean(labels == predictions))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Count how samples of each class are predicted: M_cd = samples of class c predicted as d.

    Parameters
    ----------
    labels
        (n_samples,) classes.
    predictions
        (n_samples,) classes or NONE.
    n_classes
        Number of classes.

    Returns
    -------
    (n_classes, n_classes + 1) int64; the last column counts the samples predicted as NONE.

    Raises
    ------
    ValueError : arrays that differ in length, a class out of range.
    """
    labels = _checked_classes("labels", labels, n_classes)
    predictions = _checked_classes("predictions", predictions, n_classes, len(labels), "label", lowest=NONE)
    columns = np.where(predictions == NONE, n_classes, predictions)
    size = n_classes * (n_classes + 1)
    return np.bincount(labels * (n_classes + 1) + columns, minlength=size).reshape(n_classes, n_classes + 1)


def _class_means(responses: np.ndarray, weights: np.ndarray, assignments: np.ndarray) -> np.ndarray:
    """(n_samples, n_classes) mean over the neurons of each class of weight times response, 0 where it has none."""
    scores = np.zeros((len(responses), weights.shape[1]))
    for c in range(weights.shape[1]):
        neurons = np.flatnonzero(assignments == c)
        if len(neurons):
            scores[:, c] = (responses[:, neurons] * weights[neurons, c]).sum(axis=1) / len(neurons)
    return scores


def _best(scores: np.ndarray) -> np.ndarray:
    return np.where(scores.any(axis=1), scores.argmax(axis=1), NONE)


def _ngrams(trains: Sequence[np.ndarray], s: int, n: int) -> list[tuple[int, ...]]:
    train = np.asarray(trains[s])
    if train.ndim != 1 or (len(train) and train.dtype.kind not in "iu"):
        raise ValueError(f"trains[{s}] is {train.dtype} {train.shape}; it must be a one-dimensional array of neurons")
    ids = train.tolist()
    return list(zip(*(ids[k:] for k in range(n)), strict=False))


def _checked_responses(
    responses: np.ndarray, name: str = "responses", shape: str = "(n_samples, n_neurons)"
) -> np.ndarray:
    responses = np.asarray(responses)
    if responses.ndim != 2 or responses.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {responses.dtype} {responses.shape}; it must be numbers {shape}")
    responses = responses.astype(np.float64)
    bad = ~(np.isfinite(responses) & (responses >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(f"{name}[{row}, {column}] is {responses[row, column]}; it must be finite and at least 0")
    return responses


def _checked_assignments(assignments: np.ndarray, n_classes: int, responses: np.ndarray) -> np.ndarray:
    return _checked_classes(
        "assignments", assignments, n_classes, responses.shape[1], "neuron of responses", lowest=NONE
    )


def _checked_classes(
    name: str, classes: np.ndarray, n_classes: int, length: int | None = None, item: str = "", lowest: int = 0
) -> np.ndarray:
    if n_classes < 1:
        raise ValueError(f"n_classes is {n_classes}; it must be at least 1")
    classes = np.asarray(classes)
    if classes.ndim != 1 or (len(classes) and classes.dtype.kind not in "iu"):
        raise ValueError(f"{name} is {classes.dtype} {classes.shape}; it must be a one-dimensional array of integers")
    if length is not None and len(classes) != length:
        raise ValueError(f"{name} has {len(classes)} entries; it must have {length}, one for each {item}")
    classes = classes.astype(np.int64)
    bad = np.flatnonzero((classes < lowest) | (classes >= n_classes))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {classes[bad[0]]}; it must be {lowest} to {n_classes - 1}")
    return classes
