"""Networks of PyTorch are read as they compute: the same output, and what cannot be read is named by its path."""

import numpy as np
import pytest

import evsim

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


def trained(module, seed=1):
    """With random weights and statistics, as it is evaluated."""
    torch.manual_seed(seed)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2.0)
            for parameter in each.parameters():
                nn.init.normal_(parameter)
    return module.eval()


class Functions(nn.Module):
    def __init__(self, view):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same", dilation=2), nn.BatchNorm2d(4))
        self.head = nn.Linear(4 * 9, 3)
        self.view = view

    def forward(self, x):
        x = functional.dropout(functional.relu(self.body(x)), 0.5, self.training)
        x = functional.max_pool2d(functional.avg_pool2d(x, 2), 2, stride=1)
        return self.head(self.view(x)).relu()


MODULES = {
    "sequential": nn.Sequential(
        nn.Conv2d(2, 6, (3, 2), stride=(1, 2), padding=(1, 0), groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Sequential(
            nn.AvgPool2d(2), nn.Dropout(0.3), nn.Identity(), nn.Conv2d(6, 3, (2, 1), padding="valid", bias=False)
        ),
        nn.MaxPool2d(2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.BatchNorm1d(5, affine=False),
    ),
    "flatten": Functions(lambda x: torch.flatten(x, 1)),
    "method": Functions(lambda x: x.flatten(1)),
    "view": Functions(lambda x: x.view(x.size(0), -1)),
    "reshape": Functions(lambda x: x.reshape(x.shape[0], -1)),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("traced", [False, True])
def test_the_output_is_the_same(name, traced):
    x = torch.randn(4, 2, 8, 8) if name == "sequential" else torch.randn(4, 2, 9, 9)[:, :, :8, :8]
    with torch.no_grad():
        MODULES[name](x)  # the size of lazy layers
        module = trained(MODULES[name])
        expected = module(x).numpy()
    ann = evsim.convert(torch.fx.symbolic_trace(module) if traced else module, backend="cpu").ann
    np.testing.assert_allclose(ann(x.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_one_dimensional_convolutions():
    module = trained(nn.Sequential(nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.BatchNorm1d(4), nn.ReLU()))
    x = torch.randn(2, 3, 11)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(evsim.convert(module, backend="cpu").ann(x.numpy()), expected, rtol=1e-4, atol=1e-5)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.layer(x)


class Decides(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Sigmoid())), r"1\.0 \(Sigmoid\) is not supported; known are"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="circular")), r"0 \(Conv2d\): padding_mode is 'circular'"),
        (nn.Sequential(nn.Conv2d(1, 1, 2, padding="same")), r"0 \(Conv2d\): padding 'same' is uneven"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), nn.AvgPool2d(2, ceil_mode=True)), r"1 \(AvgPool2d\): ceil_mode is True"),
        (nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, dilation=2)), r"1 \(MaxPool2d\): dilation is 2"),
        (nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, track_running_stats=False)), "keeps no running mean"),
        (nn.Sequential(nn.Flatten(2)), r"0 \(Flatten\): start_dim is 2; it must be 1"),
        (Branches(), "a network must be a chain"),
        (Decides(), "Decides cannot be traced by torch.fx"),
    ],
)
def test_what_cannot_be_read_is_named(module, message):
    with pytest.raises(ValueError, match=message):
        evsim.convert(module, backend="cpu")


def test_layers_of_sinabs_are_read_too():
    sinabs = pytest.importorskip("sinabs.layers")
    module = nn.Sequential(sinabs.SumPool2d(2), nn.Conv2d(1, 2, 2), sinabs.NeuromorphicReLU(quantize=False))
    x = torch.rand(2, 1, 6, 6)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(evsim.convert(module, backend="cpu").ann(x.numpy()), expected, rtol=1e-4, atol=1e-5)
