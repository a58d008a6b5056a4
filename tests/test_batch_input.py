"""Input of batches: the same spikes as tensor, as events and drawn frame by frame; wrong input is named."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import evsim
from evsim import batch_model as bm
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput
from evsim.buffers import Buffers
from evsim.encoding_kernels import draw_poisson_frame, drawing_scratch, encoder_word, list_lit
from evsim.jit import compile_kernel
from evsim.philox import PURPOSE_ENCODER, philox

u64 = np.uint64


@compile_kernel
def draw(threshold, step, sample, key0, key1, lit, spiking, out):
    return draw_poisson_frame(lit, list_lit(threshold, lit), step, sample, key0, key1, spiking, out, u64(0))


def draw_frame(threshold, *keys):
    """The units of a frame that spike."""
    lit, spiking, out = drawing_scratch(threshold.size)
    return out[: draw(threshold, *keys, lit, spiking, out)]


@compile_kernel
def fill_words(step, sample, key0, key1, out):
    for i in range(u64(out.size)):
        out[i] = encoder_word(i, step, sample, key0, key1)


@compile_kernel
def fill_philox(c1, c2, c3, key0, key1, out):
    for group in range(u64(out.shape[0])):
        out[group, 0], out[group, 1], out[group, 2], out[group, 3] = philox(group, c1, c2, c3, key0, key1)


@given(arrays(np.float32, array_shapes(min_dims=3, max_dims=5, max_side=4), elements=st.integers(0, 3).map(float)))
def test_tensor_and_events_hold_the_same_spikes(dense):
    events = EventInput.from_dense(dense)
    assert (events.shape, len(events), events.n_spikes) == (dense.shape, len(dense), dense.sum())
    assert (events.start.dtype, events.index.dtype) == (np.int64, np.uint32)
    np.testing.assert_array_equal(np.asarray(events), dense)
    rows = dense.reshape(*dense.shape[:2], -1)
    for frame in range(dense.shape[0] * dense.shape[1]):
        b, t = divmod(frame, dense.shape[0])
        units = events.index[events.start[frame] : events.start[frame + 1]]
        np.testing.assert_array_equal(units, np.repeat(np.arange(rows.shape[2]), rows[t, b].astype(int)))


@given(arrays(np.float32, (5, 3, 4), elements=st.integers(0, 3).map(float)), st.integers(0, 4), st.integers(1, 5))
def test_some_steps_of_events(dense, first, n):
    part = EventInput.from_dense(dense).steps(first, min(first + n, 5))
    np.testing.assert_array_equal(np.asarray(part), dense[first : first + n])
    assert part.n_spikes == dense[first : first + n].sum()


def test_spikes_may_come_in_any_order():
    rng = np.random.default_rng(1)
    dense = rng.integers(0, 3, (7, 3, 2, 5)).astype(float)
    step, sample, unit = np.nonzero(dense.reshape(7, 3, 10))
    count = dense.reshape(7, 3, 10)[step, sample, unit].astype(int)
    spikes = rng.permutation(np.repeat(np.stack([step, sample, unit], axis=1), count, axis=0))
    events = EventInput.from_spikes(*spikes.T, dense.shape)
    np.testing.assert_array_equal(events.dense(), dense)


def test_inputs_become_arrays_of_any_type():
    encoded = RepeatedInput([[0.0, 0.5], [1.0, -2.0]], 3)
    assert np.asarray(encoded).dtype == np.float32
    assert np.asarray(encoded, np.int8).tolist() == [[[0, 0], [1, -2]]] * 3
    with pytest.raises(ValueError, match="RepeatedInput: the tensor is not stored"):
        np.array(encoded, copy=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EventInput([0, 1], [0], (1, 1)), r"shape is \(1, 1\); it must be \(T, B, \.\.\.\)"),
        (lambda: EventInput([0, 1], [0], (2, 1, 3)), r"start is \[0 1\]; it must be B \* T \+ 1 = 3 numbers"),
        (lambda: EventInput([0, 2, 1], [0], (2, 1, 3)), "ascend from 0 to the number of spikes, 1"),
        (lambda: EventInput([0, 1, 2], [0], (2, 1, 3)), "ascend from 0 to the number of spikes, 1"),
        (lambda: EventInput([0, 1], [3], (1, 1, 3)), r"index\[0\] is 3; indices must be in \[0, 3\)"),
        (lambda: EventInput.from_spikes([1], [0], [0], (1, 1, 3)), r"step\[0\] is 1"),
        (lambda: EventInput.from_spikes([], [], [], (1,)), r"shape is \(1,\); it must be \(T, B, \.\.\.\)"),
        (
            lambda: EventInput.from_spikes([1] * 2**16, [2] * 2**16, [3] * 2**16, (2, 3, 4)),
            "unit 3 of sample 2 spikes 65536 times in step 1; it may 65535 times",
        ),
        (lambda: EventInput.from_dense([[[2.0**16]]]), r"spikes\[0, 0, 0\] is 65536.0; .* in \[0, 65535\]"),
        (lambda: EventInput.from_spikes([0], [0, 0], [0], (1, 1, 3)), "1 steps, 2 samples and 1 units"),
        (lambda: EventInput.from_dense([[[0.0, 0.5]]]), r"spikes\[0, 0, 1\] is 0.5; it must be a whole number"),
        (lambda: EventInput.from_dense([[[0.0, -1.0]]]), r"spikes\[0, 0, 1\] is -1.0"),
        (lambda: EventInput.from_dense([[[np.nan]]]), r"spikes\[0, 0, 0\] is nan"),
        (lambda: EventInput.from_dense([[1.0]]), r"spikes is float64 \(1, 1\); it must be numbers \(T, B"),
        (lambda: PoissonInput(np.array([[2**32 + 1]]), 1), r"threshold\[0, 0\] is 4294967297; .* in \[0, 2\^32\]"),
        (lambda: PoissonInput(np.array([[0]]), 0), "n_steps is 0"),
        (lambda: PoissonInput(np.array([[0]]), 1, seed=-1), "seed is -1"),
        (lambda: PoissonInput(np.array([[0]]), 1, first_sample=2**53), "first_sample is 9007199254740992"),
        (lambda: RepeatedInput([0.5], 1), r"current has shape \(1,\); it must be \(B, \.\.\.\)"),
    ],
)
def test_wrong_inputs_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_words_are_philox_words_of_their_own_purpose():
    step, sample, seed = 3, 5 * 2**32 + 7, 2**40 + 9
    out = np.zeros(22, np.uint64)
    fill_words(u64(step), u64(sample), u64(seed & 0xFFFFFFFF), u64(seed >> 32), out)
    expected = np.zeros((6, 4), np.uint64)
    fill_philox(u64(step), u64(7), u64((5 << 8) | PURPOSE_ENCODER), u64(9), u64(2**8), expected)
    np.testing.assert_array_equal(out, expected.ravel()[:22])
    assert encoder_word(u64(21), u64(step), u64(sample), u64(9), u64(2**8)) == out[21]  # as plain Python too


@given(arrays(np.uint64, st.integers(0, 23), elements=st.sampled_from([0, 1, 2**30, 2**31, 2**32])), st.integers(0, 99))
@settings(deadline=None)  # compiles at first
def test_a_frame_holds_the_units_whose_word_is_below_the_threshold(threshold, step):
    word = np.zeros(threshold.size, np.uint64)
    fill_words(u64(step), u64(4), u64(1), u64(2), word)
    frame = draw_frame(threshold, u64(step), u64(4), u64(1), u64(2))
    np.testing.assert_array_equal(frame, np.flatnonzero(word < threshold))


def test_frames_are_the_batch():
    encoded = PoissonInput(np.random.default_rng(1).integers(0, 2**32, (3, 2, 7)), 5, seed=2**33 + 1, first_sample=11)
    events = encoded.events()
    for b in range(3):
        for t in range(5):
            start, stop = events.start[b * 5 + t : b * 5 + t + 2]
            frame = draw_frame(encoded.threshold[b].ravel(), u64(t), u64(11 + b), *encoded.key)
            np.testing.assert_array_equal(events.index[start:stop], frame)
    assert encoded.n_spikes == events.n_spikes == np.asarray(encoded).sum()


def test_spikes_of_a_seed_stay_what_they_are():
    spikes = PoissonInput(np.full((2, 6), 2**30), 4, seed=1).dense()
    assert ["".join("#" if s else "." for s in row) for row in spikes.reshape(4, 12)] == [
        "..###.....#.",
        "##..#.......",
        "....##...##.",
        "..##...#..##",
    ]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
def test_a_run_stores_what_it_draws(threads, shape):
    threshold = np.random.default_rng(5).integers(0, 2**32, (5, *shape), np.uint64, endpoint=True)
    poisson = PoissonInput(threshold, 6, seed=2, first_sample=9)
    layers = [evsim.Flatten(), evsim.Linear(prod(shape), 3), evsim.spikingjelly.IFNode()]
    net = evsim.Sequential(*layers, threads=threads, backend="cpu")
    drawn, wanted = poisson.drawn(Buffers()), poisson.events()
    built, engine, state = net.begin(5, shape)
    (output,) = engine.run(state, drawn, [(len(built.nodes) - 1, bm.SPIKES)])
    np.testing.assert_array_equal(drawn.closed().index, wanted.index)
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(wanted))
    net.reset()
    np.testing.assert_array_equal(output, net(wanted))
