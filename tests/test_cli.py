"""The command line, run as a user runs it."""

import json
import subprocess
import sys

import h5py
import pytest

import evsim
from evsim.reference_networks import brunel


def evsim_command(*arguments, cwd=None):
    command = [sys.executable, "-m", "evsim", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Half a second of a small Brunel network."""
    path = tmp_path_factory.mktemp("cli") / "small.h5"
    done = evsim_command("run", "brunel", "--neurons", 400, "--time", 500, "--out", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["neurons"] == 400
    assert done.stderr == ""  # no progress bar where there is no terminal
    return path


def test_info_tells_versions_cores_and_backend():
    done = evsim_command("info")
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert told["evsim"] == evsim.__version__
    assert told["backend"] == "cpu"
    assert int(told["cores"]) >= 1
    assert "no GPU backend" in told["GPUs"]


def test_run_takes_a_script_and_its_options(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n")
    done = evsim_command("run", "mine.py", "--fast", "3", cwd=tmp_path)
    assert done.stdout.strip() == "['--fast', '3']"


def test_plot_draws_a_picture(recording, tmp_path):
    done = evsim_command("plot", recording, "-o", tmp_path / "raster.png", "--start", 100, "--stop", 300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "raster.png").read_bytes().startswith(b"\x89PNG")


def test_repair_of_a_whole_file_has_nothing_to_do(recording):
    done = evsim_command("repair", recording)
    assert done.returncode == 0, done.stderr
    with h5py.File(recording) as file:
        assert len(file["spikes/exc/timestamps"]) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "brunell"], ["brunell", "brunel, microcircuit"]),
        (["run", "microcircuit", "--scale", "1.5"], ["scale is 1.5", "(0, 1]"]),
        (["run", "brunel", "--neurons", "3"], ["neurons is 3", "at least 10"]),
        (["run", "brunel", "--neurons", "100", "--out", "nowhere/x.h5"], ["nowhere"]),
        (["plot", "missing.h5", "-o", "x.png"], ["missing.h5"]),
        (["repair", "missing.h5"], ["missing.h5"]),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, words, tmp_path):
    done = evsim_command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_an_existing_recording_is_not_replaced_unless_told(recording, tmp_path):
    options = ["run", "brunel", "--neurons", "100", "--time", "10", "--out", tmp_path / "x.h5"]
    assert evsim_command(*options).returncode == 0
    refused = evsim_command(*options)
    assert refused.returncode == 2
    assert "x.h5" in refused.stderr
    assert "overwrite" in refused.stderr
    assert evsim_command(*options, "--overwrite").returncode == 0


def test_progress_bars_are_silent_in_a_log(capsys):
    evsim.Simulation(brunel(100)).run(10.0)
    assert capsys.readouterr().err == ""
