"""Trained networks in files and back, exactly; parameters from and to state dicts; what does not fit is named."""

import h5py
import numpy as np
import pytest

import evsim


def network():
    """Every kind of layer, and of constant."""
    return evsim.Sequential(
        evsim.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=1, groups=2),
        evsim.spikingjelly.ParametricLIFNode(init_tau=2.7, v_threshold=0.1, v_reset=None, surrogate=evsim.ATan(1.7)),
        evsim.AvgPool2d(2, stride=1),
        evsim.Conv2d(4, 3, 2, bias=False),
        evsim.sinabs.IAF(spike_threshold=0.3, min_v_mem=-1.0, multi_spike=False),
        evsim.MaxPool2d((2, 1), padding=(1, 0)),
        evsim.Flatten(),
        evsim.Linear(27, 12),
        evsim.Recurrent(evsim.snntorch.Leaky(np.linspace(0.5, 0.9, 12), threshold=0.1, learn=("beta",))),
        evsim.Linear(12, 5),
        evsim.LIF(tau_mem=evsim.uniform(5.0, 9.0), tau_syn={"fast": 0.1 + 0.2}, v_threshold=0.05),
        dt=0.5,
        seed=7,
    )


X = (np.random.default_rng(1).random((6, 3, 2, 7, 9)) < 0.5).astype(np.uint8)


def test_a_network_comes_back_exactly(tmp_path):
    net = network()
    expected = net(X)
    path = net.save(tmp_path / "net.h5")
    other = evsim.load_network(path, threads=1)
    assert other.parameters().keys() == net.parameters().keys()
    for name, value in net.parameters().items():
        np.testing.assert_array_equal(other.parameters()[name], value)
    assert (other.dt, other.seed, other.threads) == (0.5, 7, 1)
    assert repr(other[1]) == repr(net[1])
    assert other[10].tau_syn == {"fast": 0.1 + 0.2}
    assert other[10].tau_mem == net[10].tau_mem
    assert expected.any()
    np.testing.assert_array_equal(other(X), expected)
    again = other.save(tmp_path / "again.h5")
    with h5py.File(path) as one, h5py.File(again) as two:
        assert one["description"][()] == two["description"][()]


def test_conv1d(tmp_path):
    net = evsim.Sequential(evsim.Conv1d(2, 3, 4, stride=2, padding=1, dilation=2), evsim.SpikingNeuron())
    x = np.ones((2, 1, 2, 11), np.float32)
    expected = net(x)
    np.testing.assert_array_equal(evsim.load_network(net.save(tmp_path / "net.h5"))(x), expected)


def test_the_best_network_of_a_training_run(tmp_path):
    net = evsim.Sequential(evsim.Linear(4, 6), evsim.SpikingNeuron(threshold=0.3, learn=("threshold",)), seed=1)
    x, y = np.random.default_rng(1).random((30, 5, 4)).astype(np.float32), np.arange(30) % 6
    trainer = evsim.Trainer(net, evsim.RateCrossEntropy(), evsim.Adam(lr=0.05))
    files = {"best": tmp_path / "best.h5", "checkpoint": tmp_path / "run.h5"}
    history = trainer.fit(x, y, epochs=4, validation=(x, y), **files)
    best = evsim.load_network(tmp_path / "best.h5")
    assert best.parameters().keys() == {"0.weight", "0.bias", "1.threshold"}
    accuracy = evsim.Trainer(best, evsim.RateCrossEntropy(), evsim.Adam()).evaluate(x, y)["accuracy"]
    assert accuracy == max(history["validation_accuracy"])
    validated = "validation_loss", "validation_accuracy"
    with h5py.File(tmp_path / "run.h5") as file:
        assert set(file["history"]) == {"loss", "accuracy", "rate.1", "silent.1", *validated}
        np.testing.assert_array_equal(file["history/loss"][()], history["loss"])


def test_what_a_file_cannot_hold_is_refused_before_training(tmp_path):
    own = evsim.Surrogate.from_function(lambda x: 1.0 / (1.0 + x * x))
    net = evsim.Sequential(evsim.Linear(2, 3), evsim.SpikingNeuron(surrogate=own))
    with pytest.raises(
        ValueError, match=r"layer 1 \(SpikingNeuron\): a file cannot hold .*save parameters\(\) instead"
    ):
        net.save(tmp_path / "net.h5")
    trainer = evsim.Trainer(net, evsim.RateMSE(), evsim.SGD())
    with pytest.raises(ValueError, match="a file cannot hold"):
        trainer.fit(np.ones((4, 3, 2)), np.zeros(4, int), epochs=1, best=tmp_path / "best.h5")
    assert trainer.history == {}
    assert list(tmp_path.iterdir()) == []


def change(path, old, new):
    with h5py.File(path, "a") as file:
        text = file["description"][()].decode()
        assert old in text
        del file["description"]
        file["description"] = text.replace(old, new)


def test_bad_files_are_named(tmp_path):
    net = evsim.Sequential(evsim.Linear(2, 3), evsim.sinabs.IAF())
    path = net.save(tmp_path / "net.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        net.save(path)
    net.save(path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="no file of a network"):
        evsim.load_network(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        evsim.load_network(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"not one of Sequential\.save"):
        evsim.load_network(tmp_path / "other.h5")
    change(path, '"in_features": 2', '"in_features": 4')
    with pytest.raises(ValueError, match=r"net.h5: layer 0: Linear\(4, 3\): weight has shape \(3, 2\); it must have"):
        evsim.load_network(path)
    change(path, '"in_features": 4', '"in_features": 2')
    change(path, "sinabs.IAF", "sinabs.Unheard")
    with pytest.raises(ValueError, match=r"net.h5: layer 1: its class is 'sinabs.Unheard'; this evsim knows .*ALIF"):
        evsim.load_network(path)
    with h5py.File(path, "a") as file:
        del file["arrays/layers/0/weight"]
    with pytest.raises(ValueError, match=r"net.h5: its array 'arrays/layers/0/weight' is missing"):
        evsim.load_network(path)
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(ValueError, match="format version 99"):
        evsim.load_network(path)


def small():
    return evsim.Sequential(
        evsim.Linear(3, 4), evsim.snntorch.Leaky(0.5), evsim.Linear(4, 4), evsim.Recurrent(evsim.sinabs.LIF(9.0))
    )


STATE = {
    "net.0.weight": np.arange(12.0).reshape(4, 3),
    "net.0.bias": np.arange(4.0),
    "net.1.beta": np.float32(0.75),
    "net.1.threshold": np.float32(2.0),
    "net.1.graded_spikes_factor": np.float32(1.0),
    "net.1.reset_mechanism_val": np.int64(0),
    "net.1.mem": np.zeros(0),
    "net.2.weight": np.ones((4, 4)),
    "net.2.bias": np.zeros(4),
    "net.3.tau_mem": np.float32(7.0),
    "net.3.v_mem": np.zeros((1, 4)),
    "net.3.rec_connect.weight": 2.0 * np.ones((4, 4)),
    "unrelated": np.zeros(3),
}


def test_state_dicts_of_arrays():
    net = small()
    net(np.ones((1, 1, 3)))
    evsim.from_state_dict(net, STATE, prefix="net.")
    np.testing.assert_array_equal(net[0].weight, STATE["net.0.weight"])
    np.testing.assert_array_equal(net[3].connection.weight, STATE["net.3.rec_connect.weight"])
    assert (net[1].beta, net[1].threshold, net[3].neurons.tau_mem) == (0.75, 2.0, 7.0)


def test_time_constants_of_a_state_dict_may_be_alphas():
    net = evsim.Sequential(evsim.sinabs.LIF(9.0, tau_syn=4.0))
    state = {"0.alpha_mem": np.float32(0.5), "0.alpha_syn": np.float32(0.25), "0.min_v_mem": np.float32(-2.0)}
    evsim.from_state_dict(net, state)
    assert (net[0].tau_mem, net[0].tau_syn) == pytest.approx((-1.0 / np.log(0.5), -1.0 / np.log(0.25)))
    assert net[0].min_v_mem == -2.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"net.0.weight": np.zeros((4, 2))}, r"net\.0\.weight has shape \(4, 2\); it must be \(4, 3\)"),
        ({"net.0.weight": None}, r"net\.0\.weight is missing; there are net\.0\.bias"),
        ({"net.4.weight": np.zeros(3)}, r"net\.4\.weight belongs to no layer"),
        ({"net.1.gamma": np.zeros(3)}, r"net\.1\.gamma belongs to no layer"),
        ({"net.1.graded_spikes_factor": np.float32(0.5)}, r"graded_spikes_factor is 0.5; it must be 1"),
        ({"net.1.reset_mechanism_val": np.int64(1)}, r"reset_mechanism_val is 1 \(zero\); the network's is 'subtract'"),
        ({"net.2.bias": np.array([0.0, np.nan, 0.0, 0.0])}, r"bias\[1\] is nan"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(changed, message):
    net = small()
    net(np.ones((1, 1, 3)))
    before = net.parameters()
    state = {name: value for name, value in {**STATE, **changed}.items() if value is not None}
    with pytest.raises((KeyError, ValueError), match=message):
        evsim.from_state_dict(net, state, prefix="net.")
    assert net[1].beta == 0.5
    for name, value in before.items():
        np.testing.assert_array_equal(net.parameters()[name], value)


def test_torch_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'evsim\[torch\]'"):
        evsim.to_state_dict(small())


def test_state_dicts_of_tensors():
    torch = pytest.importorskip("torch")
    net = evsim.Sequential(evsim.Linear(3, 4), evsim.spikingjelly.ParametricLIFNode(), evsim.Linear(4, 2), seed=3)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Identity(), torch.nn.Linear(4, 2))
    evsim.from_state_dict(net, theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(net.parameters()[name], tensor.numpy())
    state = evsim.to_state_dict(net, prefix="layer.")
    assert state["layer.1.w"].shape == ()
    back = evsim.Sequential(evsim.Linear(3, 4), evsim.spikingjelly.ParametricLIFNode(3.0), evsim.Linear(4, 2), seed=4)
    evsim.from_state_dict(back, state, prefix="layer.")
    for name, value in net.parameters().items():
        np.testing.assert_array_equal(back.parameters()[name], value)
