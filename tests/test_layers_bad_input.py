"""What is wrong with layers and their input is said: the object, the value, and what is allowed."""

import numpy as np
import pytest

import evsim
from evsim import sinabs, snntorch, spikingjelly
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput

IF = spikingjelly.IFNode()
ONES = np.ones((3, 2, 4), np.float32)


def dense():
    return evsim.Sequential(evsim.Linear(4, 5), IF)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: evsim.Linear(0, 3), ValueError, r"Linear: in_features is 0; it must be a whole number in \[1, "),
        (lambda: evsim.Linear(3, 2.0), ValueError, "Linear: out_features is 2.0; it must be a whole number"),
        (lambda: evsim.Linear(True, 2), ValueError, "Linear: in_features is True"),
        (lambda: evsim.Linear(2, 3, weight=np.ones((2, 3))), ValueError,
         r"Linear\(2, 3\): weight has shape \(2, 3\); it must have shape \(3, 2\)"),
        (lambda: evsim.Linear(1, 2, weight=[[1.0], [np.nan]]), ValueError,
         r"Linear\(1, 2\): weight\[1, 0\] is nan; it must be finite"),
        (lambda: evsim.Linear(1, 1, weight=[[np.inf]]), ValueError, r"weight\[0, 0\] is inf; it must be finite"),
        (lambda: evsim.Linear(1, 1, weight=[[1e31]]), ValueError, r"weight\[0, 0\] is 1e\+31; it must be at most"),
        (lambda: evsim.Linear(1, 1, weight="one"), TypeError, r"Linear\(1, 1\): weight is 'one'; it must be numbers"),
        (lambda: evsim.Linear(1, 1, weight=[[1j]]), TypeError, r"weight is \[\[1j\]\]; it must be numbers"),
        (lambda: evsim.Linear(2, 2, weight=[[1, 2], [3]]), TypeError, r"weight is \[\[1, 2\], \[3\]\]; it must be num"),
        (lambda: evsim.Linear(2, 3, bias=[1.0, 2.0]), ValueError,
         r"Linear\(2, 3\): bias has shape \(2,\); it must have shape \(3,\)"),
        (lambda: evsim.Linear(2, 3, bias=1.0), ValueError, r"bias has shape \(\); it must have shape \(3,\)"),
        (lambda: evsim.Linear(2, 3, bias="yes"), TypeError, "bias is 'yes'; it must be numbers"),
        (lambda: evsim.Linear(2, 3).weight, ValueError, r"Linear\(2, 3\): it has no weights yet; give weight=, or put"),
        (lambda: evsim.Conv2d(4, 6, 3, groups=3), ValueError, "Conv2d: groups is 3; it must divide in_channels, 4"),
        (lambda: evsim.Conv2d(4, 6, 3, groups=4), ValueError, "Conv2d: groups is 4; it must divide out_channels, 6"),
        (lambda: evsim.Conv1d(3, 3, 3, groups=2), ValueError, "Conv1d: groups is 2; it must divide in_channels, 3"),
        (lambda: evsim.Conv2d(1, 1, 0), ValueError, r"Conv2d: kernel_size is 0; it must be a whole number in \[1, "),
        (lambda: evsim.Conv2d(1, 1, (3, 3, 3)), ValueError,
         r"Conv2d: kernel_size is \(3, 3, 3\); it must be one number or a pair \(rows, columns\)"),
        (lambda: evsim.Conv2d(1, 1, 3, stride=0), ValueError, r"Conv2d: stride is 0; .* in \[1, "),
        (lambda: evsim.Conv2d(1, 1, 3, padding=-1), ValueError, r"Conv2d: padding is -1; .* in \[0, "),
        (lambda: evsim.Conv2d(1, 1, 3, padding="same"), ValueError, r"Conv2d: padding is 'same'; .* in \[0, "),
        (lambda: evsim.Conv2d(1, 1, 3, dilation=(1, 0.5)), ValueError, "Conv2d: dilation is 0.5; it must be a whole"),
        (lambda: evsim.Conv2d(1, 1, None), ValueError, "Conv2d: kernel_size is None; it must be a whole number"),
        (lambda: evsim.Conv1d(1, 1, (3, 3)), ValueError, r"Conv1d: kernel_size is \(3, 3\); it must be a whole number"),
        (lambda: evsim.Conv2d(2, 4, 3, weight=np.ones((4, 2, 3))), ValueError,
         r"Conv2d\(2, 4, kernel_size=\(3, 3\)\): weight has shape \(4, 2, 3\); it must have shape \(4, 2, 3, 3\)"),
        (lambda: evsim.Conv2d(2, 4, 3, groups=2, weight=np.ones((4, 2, 3, 3))), ValueError, r"shape \(4, 1, 3, 3\)"),
        (lambda: evsim.Conv1d(2, 4, 3, weight=np.ones((4, 2, 3, 1))), ValueError,
         r"Conv1d\(2, 4, kernel_size=3\): weight has shape \(4, 2, 3, 1\); it must have shape \(4, 2, 3\)"),
        (lambda: evsim.AvgPool2d(0), ValueError, "AvgPool2d: kernel_size is 0; it must be a whole number"),
        (lambda: evsim.MaxPool2d(2, stride=(1, 0)), ValueError, "MaxPool2d: stride is 0"),
        (lambda: evsim.SumPool2d(3, padding=2), ValueError,
         r"SumPool2d: padding is \(2, 2\); it must be at most half of \(3, 3\)"),
        (lambda: evsim.Recurrent(evsim.LIF), TypeError, "Recurrent: neurons is <class .*; it must be a neuron model"),
        (lambda: evsim.Recurrent(IF, evsim.Conv2d(1, 1, 1)), TypeError, r"connection is Conv2d\(.*\); it must be"),
        (lambda: evsim.Sequential(evsim.Linear(2, 2), None), TypeError,
         r"layer 1 \(NoneType\): it is None; it must be a layer or a neuron model"),
        (lambda: evsim.Sequential(evsim.LIF), TypeError, r"layer 0 \(type\): it is <class 'evsim.neurons.LIF'>"),
        (lambda: evsim.Sequential([evsim.Linear(2, 2)]), TypeError, r"layer 0 \(list\): it is \[Linear\(2, 2\)\]"),
        (lambda: evsim.Sequential(IF, dt=0.0), ValueError, "Sequential: dt is 0.0; it must be above 0 ms"),
        (lambda: evsim.Sequential(IF, dt=None), TypeError, "Sequential: dt is None; it must be a number"),
        (lambda: evsim.Sequential(IF, seed=-1), ValueError, r"Sequential: seed is -1; .* in \[0, 18446744073709551615"),
        (lambda: evsim.Sequential(IF, threads=0), ValueError, r"Sequential: threads is 0; .* in \[1, 1024\]"),
        (lambda: evsim.Sequential().summary(), ValueError, "summary: the shape of a sample is not known yet"),
        (lambda: evsim.Sequential(IF).summary(784), TypeError,
         r"summary: shape is 784; it must be that of a sample, such as \(784,\)"),
        (lambda: evsim.Sequential(IF).summary((1, -28)), ValueError, r"summary: shape\[1\] is -28; .* in \[1, "),
        (lambda: sinabs.IAF(reset="hard"), ValueError, "IAF: reset is 'hard'; it must be one of subtract, zero"),
        (lambda: snntorch.Leaky(beta=0.9, reset_mechanism="soft"), ValueError, "Leaky: reset_mechanism is 'soft'"),
        (lambda: spikingjelly.LIFNode(v_thresh=1.0), TypeError, "unknown parameter 'v_thresh'; did you mean 'v_t"),
    ],
)  # fmt: skip
def test_wrong_layers_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([evsim.Linear(4, 2)], (5,), r"layer 0 \(Linear\): its input has shape \(5,\); it must be \(4,\)$"),
        ([evsim.Linear(4, 2)], (1, 2, 2),
         r"layer 0 \(Linear\): its input has shape \(1, 2, 2\); it must be \(4,\); put a Flatten\(\) before it"),
        ([evsim.Linear(4, 2)], (), r"layer 0 \(Linear\): its input has shape \(\); it must be \(4,\)"),
        ([IF, evsim.Linear(4, 2), IF, evsim.Linear(3, 2)], (4,), r"layer 3 \(Linear\): its input has shape \(2,\)"),
        ([evsim.Conv2d(2, 4, 3)], (3, 8, 8),
         r"layer 0 \(Conv2d\): its input has shape \(3, 8, 8\); it must be \(2, height, width\)"),
        ([evsim.Conv2d(2, 4, 3)], (8, 8), r"layer 0 \(Conv2d\): its input has shape \(8, 8\)"),
        ([evsim.Conv2d(2, 4, 3)], (2, 2, 8),
         r"layer 0 \(Conv2d\): a window spans 3 places, but its input has 2 and padding 0 a side"),
        ([evsim.Conv2d(1, 1, 3, dilation=4, padding=1)], (1, 9, 6), "a window spans 9 places, but its input has 6"),
        ([evsim.Conv1d(2, 4, 5)], (2, 4), r"layer 0 \(Conv1d\): a window spans 5 places, but its input has 4"),
        ([evsim.Conv1d(2, 4, 3)], (2, 8, 8), r"layer 0 \(Conv1d\): .* \(2, 8, 8\); it must be \(2, length\)"),
        ([evsim.AvgPool2d(2)], (4,), r"layer 0 \(AvgPool2d\): .* \(4,\); it must be \(channels, height, width\)"),
        ([evsim.MaxPool2d((1, 3))], (2, 4, 2), r"layer 0 \(MaxPool2d\): a window spans 3 places, but its input has 2"),
        ([evsim.Flatten(), evsim.AvgPool2d(2)], (1, 4, 4), r"layer 1 \(AvgPool2d\): its input has shape \(16,\)"),
        ([evsim.Recurrent(IF)], (2, 2), r"layer 0 \(Recurrent\): .* must have one dimension; put a Flatten\(\) before"),
        ([evsim.Recurrent(IF, evsim.Linear(3, 3))], (4,),
         r"layer 0 \(Recurrent\), connection: its input has shape \(4,\); it must be \(3,\)"),
        ([evsim.Recurrent(IF, evsim.Linear(4, 3))], (4,),
         r"layer 0 \(Recurrent\): connection is Linear\(4, 3\); it must be Linear\(4, 4\)"),
        ([evsim.Recurrent(sinabs.ExpLeak(tau_mem=2.0))], (4,),
         r"layer 0 \(Recurrent\): its neurons, ExpLeak, do not spike; they must"),
        ([evsim.Flatten()], (4,), "Sequential: it has no layer that does anything; add a Linear, a Conv2d or neurons"),
        ([], (4,), "Sequential: it has no layer that does anything"),
        ([evsim.Linear(4, 2), evsim.LIF(tau_syn=(2.0, 5.0))], (4,),
         r"layer 1 \(LIF\): it has receptors exc, inh; a layer's neurons must have one"),
        ([evsim.Linear(4, 2), evsim.LIF(tau_mem=-1.0)], (4,), r"layer 1 \(LIF\): tau_mem is -1.0; it must be above 0"),
        ([evsim.IAF(v_threshold=[1.0, 2.0, 3.0])], (4,), r"layer 0 \(IAF\): v_threshold has shape \(3,\); .* \(4,\)"),
        ([evsim.Conv2d(1, 2, 2), evsim.IAF(v_threshold=np.ones((2, 1, 1)))], (1, 2, 2),
         r"layer 1 \(IAF\): v_threshold has shape \(2, 1, 1\); it must be one number or have shape \(2,\)"),
        ([spikingjelly.LIFNode(tau=1.0)], (4,), r"layer 0 \(LIFNode\): tau is 1.0; it must be above 1 steps"),
        ([spikingjelly.IFNode(v_reset=1.0)], (4,), r"layer 0 \(IFNode\): v_reset is 1.0, v_threshold 1; v_reset must"),
        ([sinabs.IAF(min_v_mem=2.0)], (4,), r"layer 0 \(IAF\): min_v_mem is 2.0, spike_threshold 1; min_v_mem must"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused(layers, shape, words):
    net = evsim.Sequential(*layers)
    with pytest.raises(ValueError, match=words):
        net(np.ones((2, 3, *shape)))
    with pytest.raises(ValueError, match=words):
        net.step(np.ones((3, *shape)))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (None, TypeError, "input: x has dtype object; it must be an array of numbers"),
        ("spikes", TypeError, "input: x has dtype <U6; it must be an array of numbers"),
        ([[[1.0, 2.0]], [[1.0]]], TypeError, "input: x has dtype object; it must be an array of numbers"),
        (ONES + 1j, TypeError, "input: x has dtype complex64; it must be"),
        (np.array([["2026-01-01"]], "datetime64[D]"), TypeError, "input: x has dtype datetime64"),
        (1.0, ValueError, r"input: x has shape \(\); it must be \(T, B, \.\.\.\), none of them 0"),
        (np.ones(4), ValueError, r"input: x has shape \(4,\); it must be \(T, B, \.\.\.\)"),
        (np.ones((0, 2, 4)), ValueError, r"input: x has shape \(0, 2, 4\); .* none of them 0"),
        (np.ones((3, 0, 4)), ValueError, r"input: x has shape \(3, 0, 4\); .* none of them 0"),
        (np.ones((3, 2, 0)), ValueError, r"input: x has shape \(3, 2, 0\); .* none of them 0"),
        ([], ValueError, r"input: x has shape \(0,\)"),
        (EventInput([0], [], (3, 0, 4)), ValueError, r"input: x has shape \(3, 0, 4\); it must"),
        (EventInput([0], [], (0, 2, 4)), ValueError, r"shape \(0, 2, 4\); .* none of them 0"),
        (RepeatedInput(np.ones((0, 4)), 3), ValueError, r"x has shape \(3, 0, 4\)"),
        (PoissonInput(np.ones((0, 4), np.uint64), 3), ValueError, r"x has shape \(3, 0, 4\)"),
        (EventInput([0, 0], [], (1, 1, 5)), ValueError, r"layer 0 \(Linear\): its input has shape \(5,\)"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(x, error, words):
    with pytest.raises(error, match=words):
        dense()(x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threads", [1, 2])
def test_values_that_are_not_finite_are_found(value, threads):
    x = np.ones((70, 3, 4), np.float32)
    x[64, 1, 2] = value
    net = evsim.Sequential(evsim.Linear(4, 5), spikingjelly.IFNode(v_threshold=1e9), threads=threads)
    before = net(x[:2])
    with pytest.raises(ValueError, match=rf"input: x\[64, 1, 2\] is {value}; it must be finite; the state is reset"):
        net(x)
    record = net.record(1, "v")
    np.testing.assert_array_equal(net(x[:2]), before)  # no sample has gone ahead of the others
    assert record.v.shape == (2, 3, 5)
    np.testing.assert_array_equal(record.v[:, 0], record.v[:, 2])
    with pytest.raises(ValueError, match=rf"x\[0, 1, 2\] is {value}; it must be finite"):
        net.step(x[64])
    with pytest.raises(ValueError, match=r"x\[0, 0, 0\] is inf; it must be finite"):
        net.step(np.full((3, 4), 1e40))


def test_another_batch_wants_a_reset():
    net = dense()
    net(ONES)
    words = (
        r"Sequential: the input has 3 samples of shape \(4,\), the state is of 2 of shape \(4,\); call reset\(\) first"
    )
    with pytest.raises(ValueError, match=words):
        net(np.ones((3, 3, 4)))
    net(ONES)
    net.reset()
    assert net(np.ones((3, 3, 4))).shape == (3, 3, 5)
    free = evsim.Sequential(IF)
    free(ONES)
    with pytest.raises(ValueError, match=r"2 samples of shape \(2, 2\), the state is of 2 of shape \(4,\); call reset"):
        free(np.ones((3, 2, 2, 2)))
    free.reset()
    assert free(np.ones((3, 2, 2, 2))).shape == (3, 2, 2, 2)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (
            RepeatedInput(np.ones((2, 4)), 3),
            TypeError,
            "step: x is a RepeatedInput of 3 steps; call the network",
        ),
        (None, TypeError, "input: x has dtype object"),
        (1.0, ValueError, r"input: x has shape \(\); it must be \(B, \.\.\.\), none of them 0"),
        (np.ones((0, 4)), ValueError, r"input: x has shape \(0, 4\); it must be \(B, \.\.\.\), none of them 0"),
        (ONES, ValueError, r"layer 0 \(Linear\): its input has shape \(2, 4\); it must be \(4,\)"),
    ],
)
def test_wrong_input_of_a_step_is_refused(x, error, words):
    with pytest.raises(error, match=words):
        dense().step(x)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_neuron_that_spikes_too_often_is_named(threads):
    net = evsim.Sequential(evsim.Linear(1, 1, False, [[1.0]]), sinabs.IAF(), threads=threads)
    assert net(np.full((1, 2, 1), 255.5)).ravel().tolist() == [255.0, 255.0]
    net.reset()
    x = np.zeros((5, 2, 1))
    x[3, 1] = 256.0
    with pytest.raises(RuntimeError, match=r"layer 1 \(IAF\): a neuron spikes more than 255 times in a step \(samp"):
        net(x)
    assert net(np.zeros((1, 3, 1))).shape == (1, 3, 1)  # reset
    adaptive = evsim.Sequential(sinabs.ALIF(tau_mem=5.0, tau_adapt=5.0, multi_spike=True, norm_input=False))
    with pytest.raises(RuntimeError, match=r"layer 0 \(ALIF\): a neuron spikes more than 255 times"):
        adaptive(np.full((1, 1, 1), 1e6))


def test_weights_are_changed_as_a_whole():
    linear = evsim.Linear(2, 2, weight=np.eye(2), bias=[0.0, 0.0])
    for array in (linear.weight, linear.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    given = np.eye(2, dtype=np.float32)
    linear.weight = given
    given[0] = 7.0  # a copy was taken
    assert linear.weight[0, 0] == 1.0
    with pytest.raises(ValueError, match=r"Linear\(2, 2\): weight has shape \(2, 3\); it must have shape \(2, 2\)"):
        linear.weight = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"Linear\(2, 2\): bias\[1\] is nan; it must be finite"):
        linear.bias = [0.0, np.nan]
    np.testing.assert_array_equal(linear.weight, np.eye(2))
