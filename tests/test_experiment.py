"""The scripts end with one JSON line, whose keys every benchmark relies on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evsim.experiment import run_experiment

SCRIPTS = Path(__file__).parents[1] / "scripts"
KEYS = [
    *("neurons", "synapses", "spikes", "rate_hz", "build_s", "run_s", "real_time_factor", "events_per_s"),
    *("peak_memory_bytes", "spike_checksum", "backend", "threads", "seed", "versions"),
]


def run_script(name, *options):
    done = subprocess.run([sys.executable, SCRIPTS / name, *options], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def last_line(capsys):
    """Runs an experiment in this process: its last line, read."""

    def run(name, *options):
        returned = run_experiment(name, [*options, "--json"])
        printed = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert printed == json.loads(json.dumps(returned))
        return printed

    return run


def test_the_brunel_script_ends_with_one_json_line():
    text = run_script("brunel.py", "--neurons", "500", "--time", "50", "--threads", "2", "--json")
    result = json.loads(text.splitlines()[-1])
    assert list(result) == KEYS
    assert (result["neurons"], result["synapses"], result["threads"]) == (500, 500 * 50, 2)
    assert result["spikes"] > 0
    assert set(result["versions"]) == {"evsim", "python", "numba", "numpy", "h5py"}


def test_the_microcircuit_script_ends_with_one_json_line():
    text = run_script("microcircuit.py", "--scale", "0.02", "--time", "50", "--warmup", "10", "--json")
    result = json.loads(text.splitlines()[-1])
    assert list(result) == KEYS
    assert result["neurons"] == 1544


def test_brunel_gives_the_same_spikes_for_any_number_of_threads(last_line):
    results = [last_line("brunel", "--neurons", "500", "--time", "50", "--threads", t) for t in "123"]
    assert [result["threads"] for result in results] == [1, 2, 3]
    assert results[0]["spikes"] > 0
    assert len({result["spike_checksum"] for result in results}) == 1
    assert len({result["spikes"] for result in results}) == 1


def test_microcircuit_gives_the_same_spikes_for_any_number_of_threads(last_line):
    options = ("--scale", "0.02", "--time", "50", "--warmup", "10")
    one, two = (last_line("microcircuit", *options, "--threads", t) for t in "12")
    assert one["spikes"] == two["spikes"] > 0
    assert one["spike_checksum"] == two["spike_checksum"]


def test_another_seed_gives_other_spikes(last_line):
    a, b = (last_line("brunel", "--neurons", "200", "--time", "50", "--seed", seed) for seed in "12")
    assert (a["seed"], b["seed"]) == (1, 2)
    assert a["spike_checksum"] != b["spike_checksum"]


def test_numbers_fit_each_other(last_line):
    result = last_line("brunel", "--neurons", "500", "--time", "50")
    seconds = 0.05
    assert result["real_time_factor"] == pytest.approx(result["run_s"] / seconds)
    assert result["rate_hz"].keys() == {"exc", "inh"}
    counted = sum(result["rate_hz"][name] * n * seconds for name, n in (("exc", 400), ("inh", 100)))
    assert counted == pytest.approx(result["spikes"])
    events = result["events_per_s"] * result["run_s"]
    assert events == pytest.approx(50 * result["spikes"], rel=0.05)  # 50 synapses a neuron, on average
    assert result["peak_memory_bytes"] > 50e6
    assert result["build_s"] > 0.0


def test_warmup_is_not_measured(last_line):
    whole = last_line("brunel", "--neurons", "200", "--time", "60")
    parts = [last_line("brunel", "--neurons", "200", "--time", "20", "--warmup", "40")]
    parts.append(last_line("brunel", "--neurons", "200", "--time", "40"))
    assert sum(part["spikes"] for part in parts) == whole["spikes"]
    assert parts[0]["spike_checksum"] == whole["spike_checksum"]  # of all since the start


@pytest.mark.parametrize("drive", ["poisson", "dc"])
def test_microcircuit_runs_at_any_scale(drive, last_line):
    result = last_line("microcircuit", "--scale", "0.02", "--time", "50", "--warmup", "10", "--drive", drive)
    assert list(result["rate_hz"]) == ["L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I"]
    assert result["neurons"] == 1544
    assert drive == "dc" or result["spikes"] > 0  # a small network without noise is silent


def test_without_json_the_summary_is_for_people(tmp_path, capsys):
    run_experiment("brunel", ["--neurons", "200", "--time", "20", "--out", str(tmp_path / "b.h5")])
    text = capsys.readouterr().out
    assert "real-time factor" in text
    assert "rates: exc" in text
    assert (tmp_path / "b.h5").exists()
