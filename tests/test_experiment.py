"""The scripts end with one JSON line, whose keys every benchmark relies on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
KEYS = [
    *("neurons", "synapses", "spikes", "rate_hz", "build_s", "run_s", "real_time_factor", "events_per_s"),
    *("peak_memory_bytes", "spike_checksum", "backend", "threads", "seed", "versions"),
]


def run_script(name, *options):
    done = subprocess.run([sys.executable, SCRIPTS / name, *options], capture_output=True, text=True, check=True)
    return done.stdout


def last_line(name, *options):
    return json.loads(run_script(name, *options, "--json").splitlines()[-1])


def test_brunel_reports_the_same_spikes_for_any_number_of_threads():
    one, two = (last_line("brunel.py", "--neurons", "500", "--time", "50", "--threads", t) for t in "12")
    assert list(one) == KEYS
    assert (one["neurons"], one["synapses"]) == (500, 500 * 50)
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["spikes"] == two["spikes"] > 0
    assert one["spike_checksum"] == two["spike_checksum"]
    assert set(one["rate_hz"]) == {"exc", "inh"}
    assert one["real_time_factor"] == pytest.approx(one["run_s"] / 0.05)


def test_another_seed_gives_other_spikes():
    a, b = (last_line("brunel.py", "--neurons", "200", "--time", "50", "--seed", seed) for seed in "12")
    assert a["spike_checksum"] != b["spike_checksum"]


@pytest.mark.parametrize("drive", ["poisson", "dc"])
def test_microcircuit_runs_at_any_scale(drive):
    result = last_line("microcircuit.py", "--scale", "0.02", "--time", "50", "--warmup", "10", "--drive", drive)
    assert list(result) == KEYS
    assert result["neurons"] == 1544
    assert list(result["rate_hz"]) == ["L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I"]


def test_without_json_the_summary_is_for_people(tmp_path):
    text = run_script("brunel.py", "--neurons", "200", "--time", "20", "--out", str(tmp_path / "b.h5"))
    assert "real-time factor" in text
    assert "rates: exc" in text
    assert (tmp_path / "b.h5").exists()
