"""The command line: run as a user runs it, and its mistakes told in one line."""

import json
import struct
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import h5py
import pytest

import evsim
from evsim.__main__ import main
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


def test_the_console_script_is_this_command():
    (script,) = entry_points(group="console_scripts", name="evsim")
    assert script.load() is main


def test_info_tells_versions_cores_and_backend(capsys):
    assert main(["info"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["evsim"] == evsim.__version__
    assert told["backend"].startswith("cpu ")
    assert int(told["cores"]) >= 1
    assert Path(told["kernels"]).is_dir()
    assert told["GPU"]  # its name, or why there is none


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_info_says_why_there_is_no_gpu(error, capsys, monkeypatch):
    def refuse():
        raise error("no NVIDIA driver was found")

    pytest.importorskip("evsim.cuda_kernels.target", exc_type=ImportError)
    monkeypatch.setattr("evsim.cuda_kernels.target.check_device", refuse)
    assert main(["info"]) == 0
    assert "\nGPU         no NVIDIA driver was found\n" in capsys.readouterr().out


def test_run_records_all_spikes_and_some_potentials(recording):
    with evsim.open_recording(recording) as opened:
        assert opened.complete
        assert opened.duration == 500.0
        assert opened.populations == {"exc": 320, "inh": 80}
        assert opened.n_spikes("exc") > 1000
        assert opened.state("inh").values.shape == (500, 5)


def test_run_takes_a_script_and_its_options(tmp_path):
    (tmp_path / "beside.py").write_text("word = 'found'\n")
    script = "import sys, beside\nif __name__ == '__main__':\n    print(sys.argv, beside.word)\n"
    (tmp_path / "mine.py").write_text(script)
    done = evsim_command("run", tmp_path / "mine.py", "a", "--fast", "3", "-o", "x", "--help")
    assert done.stdout.strip() == f"{[str(tmp_path / 'mine.py'), 'a', '--fast', '3', '-o', 'x', '--help']} found"


def test_error_in_a_script_keeps_its_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("import evsim\nevsim.normal(0.0, -1.0)\n")
    done = evsim_command("run", "mine.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "line 2, in <module>" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ValueError: normal: std is -1.0")


@pytest.mark.parametrize("name", ["brunel", "microcircuit"])
def test_run_lists_the_options_of_an_experiment(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: evsim run {name}" in capsys.readouterr().out


def test_plot_draws_the_window_asked_for(recording, tmp_path):
    pytest.importorskip("matplotlib")
    sizes = []
    for name, window in (("all.png", []), ("part.png", ["--start", "100", "--stop", "120"])):
        assert main(["plot", str(recording), "-o", str(tmp_path / name), *window]) == 0
        picture = (tmp_path / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", picture[16:24])) > 400  # pixels
        sizes.append(len(picture))
    assert sizes[0] > 2 * sizes[1]  # more dots


def test_repair_of_a_whole_file_has_nothing_to_do(recording, capsys):
    assert main(["repair", str(recording)]) == 0
    assert "nothing to repair; 500 ms" in capsys.readouterr().out
    with h5py.File(recording) as file:
        assert len(file["spikes/exc/timestamps"]) > 0


def test_repair_makes_a_killed_recording_whole(tmp_path):
    script = """
import os
import evsim
from evsim.recorder import Recorder
from evsim.reference_networks import brunel

def drain_and_die(self, *arguments, drain=Recorder.drain):
    drain(self, *arguments)
    if sim.time > 20.0:
        sim._sink._stream.flush()
        os._exit(9)

net = brunel(200)
sim = evsim.Simulation(net, threads=1)
sim.record("killed.h5", spikes=list(net.populations.values()))
Recorder.drain = drain_and_die
sim.run(1e9)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=300)
    assert done.returncode == 9
    repaired = evsim_command("repair", "killed.h5", cwd=tmp_path)
    assert repaired.returncode == 0, repaired.stderr
    assert "killed.h5: repaired; " in repaired.stdout
    with h5py.File(tmp_path / "killed.h5") as file:  # any program can read it now
        assert len(file["spikes/exc/timestamps"]) > 0
    assert "nothing to repair" in evsim_command("repair", "killed.h5", cwd=tmp_path).stdout


MISTAKES = {
    "no such script": (["run", "brunell"], ["evsim run", "brunell", "brunel, microcircuit"]),
    "scale": (["run", "microcircuit", "--scale", "1.5"], ["scale is 1.5", "(0, 1]"]),
    "neurons": (["run", "brunel", "--neurons", "3"], ["neurons is 3", "at least 10"]),
    "time": (["run", "microcircuit", "--time", "0"], ["microcircuit: time is 0.0", "above 0 ms"]),
    "nan": (["run", "microcircuit", "--time", "nan"], ["time is nan", "finite"]),
    "off the grid": (["run", "microcircuit", "--time", "0.05"], ["time is 0.05 ms", "multiples of dt = 0.1 ms"]),
    "warmup": (["run", "microcircuit", "--warmup", "-1"], ["warmup is -1.0 ms"]),
    "traces": (["run", "microcircuit", "--traces", "-1"], ["traces is -1", "[0, "]),
    "threads": (["run", "brunel", "--threads", "0"], ["threads is 0", "[1, 1024]"]),
    "seed": (["run", "brunel", "--seed", "-1"], ["seed is -1", "[0, "]),
    "folder": (["run", "microcircuit", "--out", "nowhere/x.h5"], ["nowhere", "does not exist"]),
    "output there": (["run", "microcircuit", "--out", "there.h5"], ["there.h5", "output exists"]),
    "recording missing": (["plot", "missing.h5", "-o", "x.png"], ["evsim plot", "missing.h5"]),
    "not a recording": (["plot", "there.h5", "-o", "x.png"], ["there.h5", "not a recording"]),
    "repair missing": (["repair", "missing.h5"], ["evsim repair", "missing.h5"]),
    "repair of something": (["repair", "there.h5"], ["there.h5", "not a recording"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(name, tmp_path, monkeypatch, capsys):
    """Before anything is built: a full microcircuit would take minutes."""
    arguments, words = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.h5").write_text("precious")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    for word in words:
        assert word in captured.err
    assert (tmp_path / "there.h5").read_text() == "precious"


@pytest.mark.parametrize(
    ("out", "window", "words"),
    [
        ("x.unknown", [], ["unknown", "not supported"]),
        ("no/x.png", [], ["no/x.png"]),
        ("x.png", ["--start", "700"], ["from 700 to 500 ms is empty"]),
    ],
)
def test_pictures_that_cannot_be(recording, tmp_path, monkeypatch, capsys, out, window, words):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(recording), "-o", out, *window]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words)
    assert list(tmp_path.iterdir()) == []


def test_pictures_without_matplotlib(recording, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", str(recording), "-o", str(tmp_path / "x.png")]) == 2
    assert capsys.readouterr().err == "evsim plot: pictures need matplotlib: pip install 'evsim[plot]'\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["plot"], ["plot", "x.h5"], ["info", "more"], ["run"]])
def test_wrong_commands_end_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: evsim" in capsys.readouterr().err


def test_a_mistake_is_an_exit_code_and_no_traceback(tmp_path):
    done = evsim_command("repair", "missing.h5", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_existing_recording_is_replaced_where_told(tmp_path, capsys):
    options = ["run", "brunel", "--neurons", "100", "--time", "10", "--out", str(tmp_path / "x.h5")]
    assert main(options) == 0
    assert main(options) == 2
    assert "overwrite" in capsys.readouterr().err
    assert main([*options, "--overwrite"]) == 0


def test_progress_bars_are_silent_in_a_log(capsys):
    evsim.Simulation(brunel(100)).run(10.0)
    assert capsys.readouterr().err == ""
