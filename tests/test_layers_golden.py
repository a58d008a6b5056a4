"""The same spikes, and v within 1e-5, as SpikingJelly, sinabs and snnTorch (tests/data/make_layers_golden.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from peer_layers import make_layer

import evsim

DATA = Path(__file__).parent / "data"
FILES = {name: np.load(DATA / f"layers_{name}.npz") for name in ("spikingjelly", "sinabs", "snntorch")}
CASES = [(name, case) for name, file in FILES.items() for case in json.loads(str(file["cases"]))]


@pytest.mark.parametrize(("peer", "case"), CASES, ids=[f"{peer}-{case['name']}" for peer, case in CASES])
@pytest.mark.parametrize("one_step", [False, True], ids=["all_steps", "one_step"])
def test_layers_do_what_the_peers_do(peer, case, one_step):
    file, name = FILES[peer], case["name"]
    net = evsim.Sequential(*[make_layer(peer, file, case, number) for number in range(len(case["modules"]))])
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
