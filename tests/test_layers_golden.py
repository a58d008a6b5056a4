"""The same spikes, and v within 1e-5, as SpikingJelly, sinabs and snnTorch (tests/data/make_layers_golden.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

import evsim

DATA = Path(__file__).parent / "data"
FILES = {name: np.load(DATA / f"layers_{name}.npz") for name in ("spikingjelly", "sinabs", "snntorch")}
CASES = [(name, case) for name, file in FILES.items() for case in json.loads(str(file["cases"]))]
ROOMS = {"spikingjelly": evsim.spikingjelly, "sinabs": evsim.sinabs, "snntorch": evsim.snntorch}


def made(peer, case, number):
    """evsim's layer for a module of the peer."""
    module, file = case["modules"][number], FILES[peer]
    kind, kwargs = module["class"], dict(module["kwargs"])
    if hasattr(evsim, kind) and not hasattr(ROOMS[peer], kind):
        kwargs = {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}
        key = f"{case['name']}/{number}"
        if f"{key}.weight" in file:
            kwargs["weight"] = file[f"{key}.weight"]
            kwargs["bias"] = file.get(f"{key}.bias", False)
        return getattr(evsim, kind)(**kwargs)
    if peer != "sinabs":
        return getattr(ROOMS[peer], kind)(**kwargs)
    kwargs.pop("rec_connect", None)
    if "spike_fn" in kwargs:
        kwargs["multi_spike"] = kwargs.pop("spike_fn") == "MultiSpike"
    if "reset_fn" in kwargs:
        kwargs["reset"] = {"MembraneSubtract": "subtract", "MembraneReset": "zero"}[kwargs.pop("reset_fn")]
    neurons = getattr(evsim.sinabs, kind.removesuffix("Recurrent"))(**kwargs)
    if not kind.endswith("Recurrent"):
        return neurons
    weight = file[f"{case['name']}/{number}.rec_connect.weight"]
    bias = file[f"{case['name']}/{number}.rec_connect.bias"]
    return evsim.Recurrent(neurons, evsim.Linear(*weight.shape[::-1], bias=bias, weight=weight))


@pytest.mark.parametrize(("peer", "case"), CASES, ids=[f"{peer}-{case['name']}" for peer, case in CASES])
@pytest.mark.parametrize("one_step", [False, True], ids=["all_steps", "one_step"])
def test_layers_do_what_the_peers_do(peer, case, one_step):
    file, name = FILES[peer], case["name"]
    net = evsim.Sequential(*[made(peer, case, number) for number in range(len(case["modules"]))])
    records = {}
    for number in range(len(net)):
        if f"{name}/{number}.out" in file:
            records[number] = net.record(number, "spikes", *(["v"] if f"{name}/{number}.v" in file else []))
    assert records
    x = file[f"{name}/x"]
    given = np.stack([net.step(frame) for frame in x]) if one_step else net(x)
    for number, record in records.items():
        out = file[f"{name}/{number}.out"]
        if out.dtype == np.uint8:
            np.testing.assert_array_equal(record.spikes, out)
        else:
            np.testing.assert_allclose(record.spikes, out, atol=1e-5)
        if f"{name}/{number}.v" in file:
            np.testing.assert_allclose(record.v, file[f"{name}/{number}.v"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(given, records[len(net) - 1].spikes)
