"""Conversion: the spikes of sinabs' and SpikingJelly's converted networks, rates that are activations, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

import evsim
from evsim.convert import measure_activations

FILE = np.load(Path(__file__).parent / "data" / "conversion.npz")  # of tests/data/make_conversion_golden.py
CASES = json.loads(str(FILE["cases"]))


def layers_of(case):
    """evsim's layers for a case's modules, with their weights."""
    made = []
    for index, module in enumerate(case["modules"]):
        kind, key = module["class"], f"{case['name']}/{index}"
        kwargs = {name: tuple(value) if isinstance(value, list) else value for name, value in module["kwargs"].items()}
        if kind == "BatchNorm2d":
            values = [FILE[f"{key}.{name}"] for name in ("mean", "variance", "weight", "bias")]
            made.append(evsim.BatchNorm(*values))
            continue
        if f"{key}.weight" in FILE:
            kwargs |= {"weight": FILE[f"{key}.weight"], "bias": FILE.get(f"{key}.bias", False)}
        made.append(getattr(evsim, kind)(**kwargs))
    return made


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_spikes_are_those_of_the_peer_layer_by_layer(case):
    name = case["name"]
    net = evsim.convert(layers_of(case), data=FILE.get(f"{name}/data"), backend="cpu", **case["convert"])
    neurons = [index for index, layer in enumerate(net) if isinstance(layer, evsim.neurons.NeuronModel)]
    records = [net.record(index, "spikes") for index in neurons]
    x = FILE[f"{name}/x"]
    out = net(evsim.encoders.repeat(x[0], len(FILE[f"{name}/out"])) if len(x) == 1 else x)
    for k, record in enumerate(records):
        np.testing.assert_array_equal(record.spikes, FILE[f"{name}/spikes.{k}"])
    assert f"{name}/spikes.{len(records)}" not in FILE
    np.testing.assert_allclose(out, FILE[f"{name}/out"], rtol=1e-4, atol=1e-4)


def network(rng, bias=True):
    """A CNN with biases."""
    return evsim.AnalogNetwork(
        evsim.Conv2d(2, 6, 3, padding=1, weight=rng.normal(0.1, 0.4, (6, 2, 3, 3)), bias=rng.normal(0, 0.2, 6)),
        evsim.ReLU(),
        evsim.AvgPool2d(2),
        evsim.Conv2d(6, 4, 3, weight=rng.normal(0.05, 0.3, (4, 6, 3, 3)), bias=rng.normal(0.1, 0.2, 4)),
        evsim.ReLU(),
        evsim.Flatten(),
        evsim.Linear(16, 5, weight=rng.normal(0, 0.5, (5, 16)), bias=rng.normal(0, 0.2, 5)),
    )


@pytest.mark.parametrize("normalize", ["max", "99.9%", 99.0, 0.5])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("spike_threshold", [1.0, 0.5])
def test_rates_become_activations(normalize, per_channel, spike_threshold):
    rng = np.random.default_rng(3)
    ann, x = network(rng), 4.0 * rng.random((5, 2, 8, 8))
    net = evsim.convert(
        ann, spike_threshold, None, normalize=normalize, data=x, per_channel=per_channel, input_scale=4.0, backend="cpu"
    )
    few, many = (evsim.compare_activations(ann, net, x / 4.0, n) for n in (50, 2000))
    assert [layer.layer for layer in many] == [1, 4, 6]
    for short, long in zip(few, many, strict=True):
        assert long.correlation > 0.9999
        assert long.error < 0.01
        assert long.error < 0.2 * short.error
    np.testing.assert_allclose(many[-1].activation, ann(x))
    assert len(net.scales[1]) == (6 if per_channel else 1)


def test_thresholds_scale_rates_and_sums_where_weights_stay():
    rng = np.random.default_rng(8)
    weights = [rng.normal(0.1, 0.5, shape) for shape in ((7, 4), (6, 7), (3, 6))]
    layers = [each for w in weights for each in (evsim.Linear(*w.shape[::-1], bias=False, weight=w), evsim.ReLU())]
    net = evsim.convert(layers[:-1], spike_threshold=0.25, min_v_mem=None, backend="cpu")
    assert [float(net.scales[index][0]) for index in (1, 3, 4)] == [0.25, 0.0625, 0.0625]
    layers = evsim.compare_activations(layers[:-1], net, rng.random((6, 4)), 2000)
    assert all(layer.correlation > 0.9999 and layer.error < 0.01 for layer in layers)


def test_rates_of_poisson_spikes_too():
    rng = np.random.default_rng(3)
    ann, x = network(rng), rng.random((5, 2, 8, 8))
    net = evsim.convert(ann, min_v_mem=None, normalize="99%", data=x, backend="cpu")
    layers = evsim.compare_activations(ann, net, x, 1000, "poisson", seed=1)
    assert all(layer.correlation > 0.99 for layer in layers)
    assert str(layers[0]).startswith("1 1: correlation 0.99")


def test_normalised_layers_spike_once_a_step_at_the_measured_activation():
    rng = np.random.default_rng(5)
    ann, x = network(rng), rng.random((20, 2, 8, 8))
    measured = measure_activations(ann, "max", x, False)
    activations = list(ann.activations(x))
    np.testing.assert_allclose(measured[0], activations[1].max())
    np.testing.assert_allclose(measured[3], activations[4].max())
    slow = evsim.convert(ann, normalize="max", data=x, max_rate=0.25, backend="cpu")
    np.testing.assert_allclose(slow[0].weight, 0.25 * ann.layers[0].weight / measured[0], rtol=1e-6)
    assert slow.scales[1] == 4.0 * measured[0]
    first = evsim.compare_activations(ann, slow, x, 2000)[0]
    np.testing.assert_allclose(first.rate, first.activation, atol=float(slow.scales[1][0]) / 1000)
    own = measure_activations(ann, "99%", x, True)
    np.testing.assert_allclose(own[0], np.percentile(activations[1], 99, axis=(0, 2, 3)), rtol=1e-6)
    net = evsim.convert(ann, normalize="max", data=x, backend="cpu")
    np.testing.assert_allclose(net[0].weight, ann.layers[0].weight / measured[0], rtol=1e-6)
    np.testing.assert_allclose(net[3].weight, ann.layers[3].weight * measured[0] / measured[3], rtol=1e-6)
    np.testing.assert_allclose(net[3].bias, ann.layers[3].bias / measured[3], rtol=1e-6)
    np.testing.assert_allclose(net[6].weight, ann.layers[6].weight * measured[3], rtol=1e-6)
    np.testing.assert_allclose(net[6].bias, ann.layers[6].bias, rtol=1e-6)


def test_without_biases_weights_are_those_of_normalize_weights():
    """sinabs divides each layer by its percentile, measured after the layers before it have been divided."""
    rng = np.random.default_rng(6)
    weights = [rng.normal(0.1, 0.5, shape) for shape in ((7, 4), (6, 7), (3, 6))]
    x = rng.random((30, 4))
    layers = [each for w in weights for each in (evsim.Linear(*w.shape[::-1], bias=False, weight=w), evsim.ReLU())]
    net = evsim.convert(layers, normalize=99.0, data=x, backend="cpu")
    values = x
    for k, w in enumerate(weights):
        w = w / np.percentile(np.maximum(values @ w.T, 0.0), 99)
        np.testing.assert_allclose(net[2 * k].weight, w, rtol=1e-5)
        values = np.maximum(values @ w.T, 0.0)


def test_a_silent_channel_takes_the_layers_scale():
    weight = np.array([[1.0, 1.0], [-1.0, -1.0], [1e-6, 0.0]])
    x = np.random.default_rng(1).random((10, 2))
    measured = measure_activations(evsim.AnalogNetwork(evsim.Linear(2, 3, False, weight), evsim.ReLU()), "max", x, True)
    largest = x.sum(axis=1).max()
    np.testing.assert_allclose(measured[0], [largest, largest, 0.01 * largest], rtol=1e-6)


def test_the_model_is_left_as_it_was():
    rng = np.random.default_rng(3)
    ann = network(rng)
    before = {name: value.copy() for name, value in ann.parameters().items()}
    evsim.convert(ann, bias_rescaling=3.0, normalize="max", data=rng.random((4, 2, 8, 8)), backend="cpu")
    for name, value in ann.parameters().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": [evsim.Linear(2, 2), evsim.sinabs.IAF()]}, TypeError, r"1 \(IAF\): it is not supported; known are"),
        (
            {"model": [evsim.ReLU(), evsim.BatchNorm([0.0], [1.0])]},
            ValueError,
            r"1 \(BatchNorm\): it follows no Linear",
        ),
        (
            {"model": [evsim.Linear(2, 2), evsim.BatchNorm([0.0], [1.0])]},
            ValueError,
            r"1 \(BatchNorm\): it has 1 channels; it must have 2",
        ),
        ({"model": 3}, TypeError, "the model is a int; it must be a torch.nn.Module"),
        ({"model": [evsim.Flatten()]}, ValueError, "no Linear or convolution"),
        ({"neurons": "LIF"}, ValueError, "neurons is 'LIF'; it must be one of 'IAF', 'IF'"),
        ({"normalize": "max"}, ValueError, "normalize wants data="),
        ({"normalize": "min", "data": [[1.0, 1.0]]}, ValueError, "normalize is 'min'; it must be 'max', a percentile"),
        ({"normalize": 101.0, "data": [[1.0, 1.0]]}, ValueError, "normalize is 101.0"),
        ({"normalize": True, "data": [[1.0, 1.0]]}, ValueError, "normalize is True"),
        ({"normalize": "1%", "data": [[0.0, 0.0]]}, ValueError, r"1 \(ReLU\): normalize='1%' of its activations is 0"),
        ({"normalize": "max", "data": 1.0}, ValueError, r"data has shape \(\); it must be \(N, ...\)"),
        ({"spike_threshold": 0.0}, ValueError, "spike_threshold is 0.0; it must be above 0"),
        ({"bias_rescaling": -1.0}, ValueError, "bias_rescaling is -1.0"),
        ({"max_rate": 0.0}, ValueError, "max_rate is 0.0; it must be above 0"),
        ({"min_v_mem": 2.0, "add_spiking_output": True}, ValueError, "min_v_mem"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    linear = evsim.Linear(2, 2, bias=False, weight=np.eye(2))
    given = {"model": [linear, evsim.ReLU()], "backend": "cpu", **change}
    with pytest.raises(error, match=message):
        evsim.convert(**given)(np.zeros((1, 1, 2)))


def test_comparison_refuses_other_networks():
    rng = np.random.default_rng(3)
    ann, x = network(rng), rng.random((2, 2, 8, 8))
    with pytest.raises(TypeError, match=r"snn is a Sequential; it must be what evsim\.convert has made"):
        evsim.compare_activations(ann, evsim.Sequential(evsim.Linear(2, 2)), x)
    with pytest.raises(ValueError, match="snn was made from AnalogNetwork"):
        evsim.compare_activations([evsim.Linear(2, 2)], evsim.convert(ann, backend="cpu"), x)
    with pytest.raises(ValueError, match="encoder is 'rate'"):
        evsim.compare_activations(ann, evsim.convert(ann, backend="cpu"), x, encoder="rate")
