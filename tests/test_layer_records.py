"""Recordings of layers, in memory and in HDF5, and the table of a network."""

import re

import h5py
import numpy as np
import pytest

import evsim
from evsim import sinabs, snntorch, spikingjelly

rng = np.random.default_rng(1)
SPIKES = (rng.random((11, 3, 2, 6, 5)) < 0.4).astype(np.float32)


def made(seed=0):
    return evsim.Sequential(
        evsim.Conv2d(2, 3, 3), spikingjelly.LIFNode(v_threshold=0.2), evsim.AvgPool2d(2, 1), evsim.Flatten(),
        evsim.Linear(18, 7), sinabs.LIF(tau_mem=5.0, tau_syn=3.0, spike_threshold=0.01), evsim.Linear(7, 2), seed=seed,
    )  # fmt: skip


def test_records_have_the_shapes_that_layers_have():
    net = made()
    conv, pooled = net.record(1, "spikes", "v", "v_pre_reset"), net.record(2, "spikes")
    neurons, output = net.record(net[5], "i", "v", "spikes"), net.record(-1, "spikes")
    out = net(SPIKES)
    for name in ("spikes", "v", "v_pre_reset"):
        assert getattr(conv, name).shape == (11, 3, 3, 4, 3)
        assert getattr(conv, name).dtype == np.float32
    windows = np.lib.stride_tricks.sliding_window_view(conv.spikes, (2, 2), axis=(3, 4))
    np.testing.assert_array_equal(pooled.spikes, windows.mean(axis=(-2, -1)))
    assert neurons.i.shape == neurons.v.shape == (11, 3, 7)
    np.testing.assert_array_equal(conv.v, np.where(conv.spikes > 0, 0.0, conv.v_pre_reset))
    np.testing.assert_array_equal(output.spikes, out)
    np.testing.assert_allclose(out, neurons.spikes @ net[6].weight.T + net[6].bias, atol=1e-5)
    assert repr(conv) == "<record of 1_LIFNode: spikes, v, v_pre_reset>"


def test_a_record_goes_on_from_call_to_call_until_it_is_stopped():
    net = made()
    record = net.record(5, "v", "v")
    assert record.variables == ("v",)
    net(SPIKES[:4])
    net.step(SPIKES[4])
    net(SPIKES[5:])
    whole = made()
    other = whole.record(5, "v")
    whole(SPIKES)
    np.testing.assert_array_equal(record.v, other.v)
    record.clear()
    net(SPIKES[:2])
    assert len(record.v) == 2
    net.stop_recording()
    net(SPIKES[:2])
    assert len(record.v) == 2


def test_records_in_a_file_are_those_in_memory(tmp_path):
    path = tmp_path / "layers.h5"
    path.write_text("another file")
    net = made()
    in_file = [net.record(1, "spikes", "v", file=path), net.record(5, "i", file=str(path))]
    kept = [net.record(1, "spikes", "v"), net.record(5, "i")]
    with pytest.raises(ValueError, match=r"record of 1_LIFNode: nothing is recorded yet; call the network"):
        in_file[0].v  # noqa: B018
    net(SPIKES[:4])
    net.step(SPIKES[4])
    net(SPIKES[5:])
    with h5py.File(path) as file:
        assert set(file) == {"1_LIFNode", "5_LIF"}
        assert file.attrs["dt"] == 1.0
        np.testing.assert_array_equal(file["1_LIFNode/spikes"], kept[0].spikes)
        np.testing.assert_array_equal(file["1_LIFNode/v"], kept[0].v)
        np.testing.assert_array_equal(file["5_LIF/i"], kept[1].i)
    np.testing.assert_array_equal(in_file[0].v, kept[0].v)
    net.stop_recording()
    net(SPIKES)
    assert len(in_file[0].v) == 11
    again = net.record(1, "v", file=path)  # a new file in its place
    net(SPIKES[:2])
    assert len(again.v) == 2
    with h5py.File(path) as file:
        assert set(file) == {"1_LIFNode"}


def test_frames_of_another_batch_are_refused_before_they_are_made(tmp_path):
    net = made()
    in_file, kept = net.record(1, "v", file=tmp_path / "layers.h5"), net.record(5, "v")
    net(SPIKES)
    net.reset()
    words = (
        r"<record of 1_LIFNode: v>: its frames have shape \(3, 3, 4, 3\), the next have \(2, 3, 4, 3\); record other"
    )
    with pytest.raises(ValueError, match=words):
        net(SPIKES[:, :2])
    assert len(in_file.v) == len(kept.v) == 11
    net.stop_recording()
    kept = net.record(5, "v")
    net.reset()
    net(SPIKES[:, :2])
    net.reset()
    with pytest.raises(ValueError, match=r"<record of 5_LIF: v>: .* shape \(2, 7\), the next have \(3, 7\); clear\(\)"):
        net(SPIKES)
    kept.clear()
    net.reset()
    net(SPIKES)
    assert kept.v.shape == (11, 3, 7)


def test_v_is_the_one_that_the_framework_shows():
    x = np.ones((3, 1, 1), np.float32)
    for model, v in (
        (evsim.SpikingNeuron(threshold=2.5, decay=0.5), [0.5, 0.75, 0.875]),  # after the decay
        (evsim.SpikingNeuron(threshold=1.5, decay=0.5), [0.5, 0.0, 0.5]),
        (snntorch.Leaky(beta=0.5, threshold=1.2), [1.0, 1.5, 0.55]),  # before the reset
        (spikingjelly.IFNode(v_threshold=2.0), [1.0, 0.0, 1.0]),
        (sinabs.ConstantLeakIAF(v_leak=0.25), [0.75, 0.5, 0.25]),
    ):
        net = evsim.Sequential(model)
        record = net.record(0, "v")
        net(x)
        np.testing.assert_allclose(record.v.ravel(), v, rtol=1e-6)


@pytest.mark.parametrize(
    ("index", "variables", "error", "words"),
    [
        (1, ["vv"], KeyError, r"layer 1 \(LIFNode\): unknown variable 'vv'; known are spikes, v, v_pre_reset, i"),
        (2, ["v"], KeyError, r"layer 2 \(AvgPool2d\): unknown variable 'v'; known are spikes"),
        (1, [], ValueError, "record: no variable is given; give one or more of spikes, v, v_pre_reset, i"),
        (0, ["spikes"], ValueError, r"layer 0 \(Conv2d\): it has no values of its own .* the neurons behind it"),
        (3, ["spikes"], ValueError, r"layer 3 \(Flatten\): it has no values of its own"),
        (4, ["spikes"], ValueError, r"layer 4 \(Linear\): it has no values of its own"),
        (7, ["spikes"], IndexError, r"Sequential: layer 7 is outside \[0, 7\)"),
        (-8, ["spikes"], IndexError, r"Sequential: layer -8 is outside \[0, 7\)"),
        (evsim.Linear(2, 2), ["spikes"], ValueError, r"Linear\(2, 2\) is 0 times among its layers; give its index"),
        ("conv", ["spikes"], ValueError, r"Sequential: 'conv' is 0 times among its layers; give its index"),
    ],
)
def test_what_cannot_be_recorded_is_refused(index, variables, error, words):
    with pytest.raises(error, match=words):
        made().record(index, *variables)


def test_other_wrong_records_are_refused(tmp_path):
    net = made()
    record = net.record(1, "i")
    with pytest.raises(ValueError, match=r"layer 1 \(LIFNode\): it has no synaptic current to record"):
        net(SPIKES)
    with pytest.raises(AttributeError, match="record of 1_LIFNode: 'v' is not recorded"):
        record.v  # noqa: B018
    with pytest.raises(ValueError, match="record of 1_LIFNode: nothing is recorded yet; call the network"):
        record.i  # noqa: B018
    net.record(5, "v", file=tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"layer 5 \(LIF\): it is recorded in .*a\.h5 already"):
        net.record(5, "spikes", file=tmp_path / "a.h5")
    same = spikingjelly.IFNode()
    with pytest.raises(ValueError, match=r"IFNode\(.*\) is 2 times among its layers; give its index"):
        evsim.Sequential(same, same).record(same, "v")


def test_the_summary_tells_shapes_neurons_synapses_and_bytes():
    net = made()
    with pytest.raises(ValueError, match=r"summary: the shape of a sample is not known yet; give shape="):
        net.summary()
    text = net.summary((2, 6, 5))
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert lines[0] == ["layer", "output", "neurons", "synapses", "weights", "state"]
    assert lines[2] == ["0 Conv2d(2, 3, kernel_size=(3, 3))"]
    assert lines[3] == ["1 LIFNode", "(3, 4, 3)", "36", "648", "216 B", "144 B"]  # 4 * 3 places, 54 weights
    assert lines[4] == ["2 AvgPool2d(kernel_size=(2, 2))", "(3, 3, 2)", "0", "0", "0 B", "0 B"]
    assert lines[5] == ["3 Flatten()"]
    assert lines[7] == ["5 LIF", "(7)", "7", "126", "504 B", "56 B"]
    assert lines[8] == ["6 Linear(7, 2)", "(2)", "0", "14", "56 B", "0 B"]
    assert lines[10] == ["total", "43", "788", "776 B", "200 B"]
    net(SPIKES)
    assert net.summary() == text
    assert evsim.Sequential(evsim.Linear(3, 4)).summary().splitlines()[2].split() == [
        "0", "Linear(3,", "4)", "(4)", "0", "12", "48", "B", "0", "B",
    ]  # fmt: skip
    padded = evsim.Sequential(evsim.Conv2d(1, 1, 3, padding=1), spikingjelly.IFNode())
    assert " 49 " in padded.summary((1, 3, 3))  # 4 corners of 4, 4 edges of 6, the middle of 9
    conv = evsim.Sequential(evsim.Conv2d(1, 4, 2), evsim.Flatten())
    assert "(4, 2, 1)" in conv.summary((1, 3, 2))
    assert conv(np.ones((1, 1, 1, 3, 2))).shape == (1, 1, 8)
