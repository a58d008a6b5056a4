"""Learned constants of neurons: PyTorch's gradients (tests/data/make_learned_golden.py), training, bad settings."""

import json
from pathlib import Path

import numpy as np
import pytest

import evsim
from evsim.training import forward

GOLDEN = np.load(Path(__file__).parent / "data" / "learned.npz")
CASES = json.loads(str(GOLDEN["cases"]))
ROOMS = {"spikingjelly": evsim.spikingjelly, "sinabs": evsim.sinabs, "snntorch": evsim.snntorch}


def golden_network(case, wrap=lambda neurons: neurons):
    kwargs = {key: np.array(value) if isinstance(value, list) else value for key, value in case["kwargs"].items()}
    if case["peer"] == "spikingjelly":
        kwargs["surrogate"] = evsim.ATan()
    neurons = getattr(ROOMS[case["peer"]], case["class"])(**kwargs, learn=tuple(case["learn"]))
    weight, bias = (GOLDEN[f"{case['name']}/{part}"] for part in ("weight", "bias"))
    return evsim.Sequential(evsim.Linear(*weight.shape[::-1], weight=weight, bias=bias), wrap(neurons))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_gradients_are_the_peers(case):
    name, net = case["name"], golden_network(case)
    for key in case["learn"]:
        np.testing.assert_allclose(net.parameters()[f"1.{key}"], GOLDEN[f"{name}/start/{key}"], rtol=1e-6)
    output, backward = forward(net, GOLDEN[f"{name}/x"])
    np.testing.assert_array_equal(output, GOLDEN[f"{name}/output"])
    gradients = backward(GOLDEN[f"{name}/c"])
    names = {"0.weight": "weight", "0.bias": "bias", **{f"1.{key}": key for key in case["learn"]}}
    assert gradients.keys() == names.keys()
    for key, gradient in gradients.items():
        wanted = GOLDEN[f"{name}/gradient/{names[key]}"]
        assert gradient.shape == wanted.shape
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max(), err_msg=key)


@pytest.mark.parametrize("case", CASES[:2], ids=[case["name"] for case in CASES[:2]])
def test_neurons_of_a_recurrent_layer_learn_too(case):
    """With no weights from neuron to neuron it is the same."""
    name = case["name"]
    net = golden_network(case, lambda neurons: evsim.Recurrent(neurons, evsim.Linear(6, 6, False, np.zeros((6, 6)))))
    _, backward = forward(net, GOLDEN[f"{name}/x"])
    gradients = backward(GOLDEN[f"{name}/c"])
    for key in case["learn"]:
        np.testing.assert_allclose(gradients[f"1.{key}"], GOLDEN[f"{name}/gradient/{key}"], rtol=1e-4)
    net.load_parameters({"1.beta": 0.5})
    assert net[1].neurons.beta == 0.5


def test_a_threshold_is_learned():
    """The input alone is too weak: the loss falls by what the neurons learn."""
    rate, x = 0.5, np.full((20, 8, 4), 0.3, np.float32)
    neurons = evsim.spikingjelly.LIFNode(tau=3.0, surrogate=evsim.ATan(), learn=("tau", "v_threshold"))
    net = evsim.Sequential(neurons)
    loss, optimizer, values = evsim.RateMSE(), evsim.Adam(lr=0.02), []
    for _ in range(60):
        net.reset()
        output, backward = forward(net, x)
        value, gradient = loss(output, np.full((8, 4), rate))
        values.append(value)
        net.load_parameters(optimizer.update(net.parameters(), backward(gradient)))
    assert values[0] == pytest.approx(rate**2)
    assert values[-1] < 0.05
    assert net[0].v_threshold < 0.3


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(ValueError, match=r"layer 0 \(LIFNode\): learn is \('gamma',\); LIFNode can learn tau, v_thres"):
        evsim.Sequential(evsim.spikingjelly.LIFNode(learn=("gamma",))).step(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"layer 0 \(IF?Node\): v_reset is None; to learn v_reset it must be a number"):
        evsim.Sequential(evsim.spikingjelly.IFNode(v_reset=None, learn=("v_reset",))).step(np.ones((1, 2)))
    drawn = evsim.LIF(tau_mem=evsim.uniform(5.0, 6.0), learn=("tau_mem",))
    with pytest.raises(ValueError, match=r"tau_mem is uniform\(5, 6.*\); to learn tau_mem it must be a number"):
        evsim.Sequential(drawn).step(np.ones((1, 2)))
    net = evsim.Sequential(evsim.spikingjelly.LIFNode(learn=("tau",)))
    net.load_parameters({"0.tau": 0.5})
    with pytest.raises(ValueError, match=r"layer 0 \(LIFNode\): tau is 0.5; it must be above 1 steps"):
        net.step(np.ones((1, 2)))
