"""Labels and predictions against cases whose answer is known, plain loops, and BindsNET's own results."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import evsim
from evsim.labelling import (
    NONE,
    accuracy,
    assign_labels,
    confusion_matrix,
    firing_order,
    ngram_table,
    predict_all_activity,
    predict_ngram,
    predict_proportion,
)

GOLDEN = Path(__file__).parent / "data" / "bindsnet_labelling.npz"
N_CLASSES = 3


@st.composite
def samples(draw):
    """Responses (n_samples, n_neurons) of few spikes, so that ties and silence are frequent, and labels."""
    n_samples, n_neurons = draw(st.integers(0, 8)), draw(st.integers(0, 6))
    responses = draw(arrays(np.int64, (n_samples, n_neurons), elements=st.integers(0, 3)))
    return responses, draw(arrays(np.int64, n_samples, elements=st.integers(0, N_CLASSES - 1)))


def test_neurons_take_the_class_of_their_highest_mean():
    """The mean, not the sum: class 0 has three samples, class 1 one."""
    responses = np.array([[2, 0, 1], [2, 0, 1], [2, 0, 1], [5, 0, 1]])
    assignments, proportions = assign_labels(responses, np.array([0, 0, 0, 1]), N_CLASSES)
    assert assignments.tolist() == [1, NONE, 0]  # the third neuron's tie goes to the lowest class
    np.testing.assert_allclose(proportions, [[2 / 7, 5 / 7, 0], [0, 0, 0], [0.5, 0.5, 0]])


def test_all_activity_averages_over_the_neurons_of_a_class():
    assignments = np.array([0, 0, 1, NONE])
    responses = np.array([[3, 3, 2, 9], [3, 0, 2, 9], [4, 0, 2, 0], [0, 0, 0, 9], [0, 0, 0, 0]])
    assert predict_all_activity(responses, assignments, N_CLASSES).tolist() == [0, 1, 0, NONE, NONE]


def test_proportions_tip_the_balance():
    assignments = np.array([0, 1])
    responses = np.array([[3, 2]])
    assert predict_all_activity(responses, assignments, 2).tolist() == [0]
    assert predict_proportion(responses, assignments, np.array([[0.6, 0.4], [0.0, 1.0]])).tolist() == [1]


def test_ngrams_follow_the_order_of_spikes():
    trains = [firing_order(np.array([2, 0, 1]), np.array([5.0, 1.0, 5.0])), np.array([1, 0]), np.array([1, 0, 1])]
    assert trains[0].tolist() == [0, 1, 2]
    table = ngram_table(trains, np.array([0, 1, 2]), N_CLASSES)
    assert {ngram: counts.tolist() for ngram, counts in table.items()} == {
        (0, 1): [1, 0, 1],
        (1, 2): [1, 0, 0],
        (1, 0): [0, 1, 1],
    }
    new = [np.array([0, 1, 2]), np.array([1, 0]), np.array([0, 1, 0]), np.array([2, 2, 2]), np.array([0]), []]
    assert predict_ngram(new, table).tolist() == [0, 1, 2, NONE, NONE, NONE]
    assert predict_ngram(new, {}).tolist() == [NONE] * 6


def test_accuracy_and_confusion():
    labels, predictions = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, NONE, 2])
    assert accuracy(labels, predictions) == 0.6
    matrix = confusion_matrix(labels, predictions, N_CLASSES)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]


@given(samples())
def test_assignments_equal_a_plain_loop(given_samples):
    responses, labels = given_samples
    assignments, proportions = assign_labels(responses, labels, N_CLASSES)  # without a warning: these are errors here
    assert proportions.shape == (responses.shape[1], N_CLASSES)
    for i, spikes in enumerate(responses.T.tolist()):
        of_class = [[n for n, label in zip(spikes, labels, strict=True) if label == c] for c in range(N_CLASSES)]
        means = [sum(counts) / len(counts) if counts else 0.0 for counts in of_class]
        assert assignments[i] == (means.index(max(means)) if any(spikes) else NONE)
        expected = [mean / sum(means) if any(spikes) else 0.0 for mean in means]
        np.testing.assert_allclose(proportions[i], expected, rtol=1e-12)


@given(samples(), st.permutations(range(8)))
def test_the_order_of_samples_does_not_matter(given_samples, order):
    responses, labels = given_samples
    order = [s for s in order if s < len(labels)]
    assignments, proportions = assign_labels(responses, labels, N_CLASSES)
    reordered = assign_labels(responses[order], labels[order], N_CLASSES)
    np.testing.assert_array_equal(reordered[0], assignments)
    np.testing.assert_array_equal(reordered[1], proportions)
    for predict in (
        lambda rows: predict_all_activity(rows, assignments, N_CLASSES),
        lambda rows: predict_proportion(rows, assignments, proportions),
    ):
        np.testing.assert_array_equal(predict(responses[order]), predict(responses)[order])


@given(samples())
def test_predictions_are_classes_and_silence_is_none(given_samples):
    responses, labels = given_samples
    assignments, proportions = assign_labels(responses, labels, N_CLASSES)
    silent = ~responses[:, assignments != NONE].any(axis=1)
    for predictions in (
        predict_all_activity(responses, assignments, N_CLASSES),
        predict_proportion(responses, assignments, proportions),
    ):
        np.testing.assert_array_equal(predictions == NONE, silent)
        matrix = confusion_matrix(labels, predictions, N_CLASSES)
        assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=N_CLASSES).tolist()
        if len(labels):
            assert np.trace(matrix) / len(labels) == pytest.approx(accuracy(labels, predictions))


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=6), st.integers(1, 3))
def test_each_window_of_a_train_is_counted_once(trains, n):
    labels = np.arange(len(trains)) % N_CLASSES
    table = ngram_table(trains, labels, N_CLASSES, n)
    assert sum(counts.sum() for counts in table.values()) == sum(max(0, len(train) - n + 1) for train in trains)
    np.testing.assert_array_equal(predict_ngram(trains, table) == NONE, [len(train) < n for train in trains])


def test_bindsnet_assigns_and_predicts_the_same():
    """Golden data of tests/data/make_labelling_golden.py: BindsNET draws ties at random, so there are none."""
    with np.load(GOLDEN) as golden:
        n_classes = int(golden["n_classes"])
        responses, labels = golden["spikes"].sum(axis=1), golden["labels"]
        assignments, proportions = assign_labels(responses, labels, n_classes)
        np.testing.assert_array_equal(assignments, golden["assignments"])
        np.testing.assert_allclose(proportions, golden["proportions"], rtol=1e-6)

        new = golden["new_spikes"].sum(axis=1)
        np.testing.assert_array_equal(predict_all_activity(new, assignments, n_classes), golden["all_activity"])
        np.testing.assert_array_equal(predict_proportion(new, assignments, proportions), golden["proportion_weighting"])

        trains = [firing_order(*np.nonzero(sample)[::-1]) for sample in golden["spikes"]]
        table = ngram_table(trains, labels, n_classes, n=2)
        assert sorted(table) == [tuple(ngram) for ngram in golden["ngrams"].tolist()]
        np.testing.assert_array_equal([table[ngram] for ngram in sorted(table)], golden["ngram_counts"])
        new_trains = [firing_order(*np.nonzero(sample)[::-1]) for sample in golden["new_spikes"]]
        heard = new.any(axis=1)
        np.testing.assert_array_equal(predict_ngram(new_trains, table)[heard], golden["ngram"][heard])


def test_exported():
    assert evsim.labelling.assign_labels is assign_labels


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assign_labels(np.zeros(4), [0], 2), r"responses is float64 \(4,\)"),
        (lambda: assign_labels([[0.0, np.nan]], [0], 2), r"responses\[0, 1\] is nan; .* at least 0"),
        (lambda: assign_labels([[0], [-1]], [0, 1], 2), r"responses\[1, 0\] is -1\.0"),
        (lambda: assign_labels([[1], [1]], [0, 2], 2), r"labels\[1\] is 2; it must be 0 to 1"),
        (lambda: assign_labels([[1], [1]], [0], 2), "labels has 1 entries; it must have 2, one for each sample"),
        (lambda: assign_labels([[1]], [0.5], 2), r"labels is float64 \(1,\); .* integers"),
        (lambda: assign_labels([[1]], [0], 0), "n_classes is 0; it must be at least 1"),
        (lambda: predict_all_activity([[1, 1]], [0], 2), "assignments has 1 entries; it must have 2"),
        (lambda: predict_all_activity([[1, 1]], [0, -2], 2), r"assignments\[1\] is -2; it must be -1 to 1"),
        (lambda: predict_proportion([[1]], [0], [[1.0], [0.0]]), "proportions has 2 rows; it must have 1"),
        (lambda: predict_proportion([[1]], [0], [[np.inf]]), r"proportions\[0, 0\] is inf"),
        (lambda: firing_order([1, 2], [1.0]), r"ids \(2,\) and times \(1,\)"),
        (lambda: ngram_table([[0, 1]], [0], 2, n=0), "n is 0; an n-gram has at least 1 spike"),
        (lambda: ngram_table([[0, 1]], [0, 1], 2), "labels has 2 entries; it must have 1, one for each train"),
        (lambda: ngram_table([[0, 1], [0.5]], [0, 1], 2), r"trains\[1\] is float64 \(1,\)"),
        (lambda: predict_ngram([[0]], {(0,): np.ones(2), (0, 1): np.ones(2)}), r"n-grams of \[1, 2\] spikes"),
        (lambda: accuracy([], []), "not empty"),
        (lambda: accuracy([0, 1], [0]), r"labels \(2,\) and predictions \(1,\)"),
        (lambda: confusion_matrix([0, 1], [0, 2], 2), r"predictions\[1\] is 2; it must be -1 to 1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
