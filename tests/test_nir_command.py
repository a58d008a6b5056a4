"""`evsim nir info` and `evsim nir run`."""

from pathlib import Path

import h5py
import nir_graphs as graphs
import numpy as np
import pytest
from nir_graphs import nir

import evsim
from evsim.__main__ import main
from evsim.io.layer_file import read_frames

FOLDER = Path(__file__).parent / "data"
GOLDEN = np.load(FOLDER / "nir_golden.npz")


def test_info_lists_nodes_shapes_parameters_and_edges(capsys):
    assert main(["nir", "info", str(FOLDER / "nir_snntorch_recurrent.nir")]) == 0
    first, header, *rows, note = capsys.readouterr().out.splitlines()
    assert first.endswith("nir_snntorch_recurrent.nir: 5 nodes, 5 edges")
    assert header.split() == ["node", "type", "takes", "gives", "parameters", "leads", "to"]
    assert [row.split()[0] for row in rows] == ["input", "0", "1.lif", "1.w_rec", "output"]
    assert "(5,)   (5,)   tau 0.0005, r 5, v_leak 0, v_threshold 1, v_reset 0" in rows[2]
    assert rows[2].endswith("1.w_rec, output")
    assert rows[3].endswith("1.lif*")
    assert note == "* feedback: a step later"


def test_info_tells_what_evsim_wrote(tmp_path, capsys):
    net = evsim.Sequential(evsim.Linear(3, 2), evsim.spikingjelly.IFNode())
    evsim.to_nir(net, tmp_path / "x.nir")
    assert main(["nir", "info", str(tmp_path / "x.nir")]) == 0
    assert "4 nodes, 3 edges; dt 0.001, method 'exact'" in capsys.readouterr().out


def test_run_gives_the_output_and_all_spikes(tmp_path, capsys):
    x, out = GOLDEN["snntorch_zero/x"], GOLDEN["snntorch_zero/out"]
    np.save(tmp_path / "x.npy", x)
    file, made = FOLDER / "nir_snntorch_zero.nir", tmp_path / "out.h5"
    arguments = ["--input", str(tmp_path / "x.npy"), "-o", str(made), "--dt", "1e-4", "--method", "euler"]
    assert main(["nir", "run", str(file), *arguments, "--backend", "cpu"]) == 0
    told = capsys.readouterr().out
    assert f"60 steps of 0.1 ms, 2 samples; output (60, 2, 5), sum {out.sum()}; written to" in told
    np.testing.assert_array_equal(read_frames(made, "output", "values"), out)
    with h5py.File(made) as written:
        assert written["1_LIF/spikes"].shape == (60, 2, 2, 4, 4)
    np.save(tmp_path / "one.npy", x[:, 0])
    arguments = [
        "--input",
        str(tmp_path / "one.npy"),
        "-o",
        str(tmp_path / "one.h5"),
        "--dt",
        "1e-4",
        "--method",
        "euler",
    ]
    assert main(["nir", "run", str(file), *arguments]) == 0
    np.testing.assert_array_equal(read_frames(tmp_path / "one.h5", "output", "values"), out[:, :1])


@pytest.fixture
def branching(tmp_path):
    """A file with two Inputs, and inputs for both."""
    nodes = {"a": nir.Input(np.array([2])), "b": nir.Input(np.array([2])), "n": graphs.neurons("LIF", 2),
             "w": nir.Scale(np.full(2, 3.0, np.float32)), "v": graphs.neurons("LI", 2),
             "out": nir.Output(np.array([2])), "rest": nir.Output(np.array([2]))}  # fmt: skip
    edges = [("a", "w"), ("b", "w"), ("w", "n"), ("w", "v"), ("n", "out"), ("v", "rest")]
    nir.write(tmp_path / "x.nir", graphs.graph(nodes, edges))
    np.save(tmp_path / "a.npy", (np.random.default_rng(0).random((50, 2)) < 0.5).astype(np.uint8))
    np.save(tmp_path / "b.npy", np.full((50, 2), 2.0))
    return tmp_path


def run(folder, *inputs, file="x.nir", more=("--dt", "1e-3")):
    given = [part for each in inputs for part in ("--input", each)]
    return main(["nir", "run", str(folder / file), *given, "-o", str(folder / "out.h5"), *more])


def test_run_records_a_graph_that_is_no_chain(branching, capsys):
    assert run(branching, f"a={branching / 'a.npy'}", f"b={branching / 'b.npy'}") == 0
    assert "50 steps of 1 ms; " in capsys.readouterr().out
    with evsim.open_recording(branching / "out.h5") as recording:
        assert recording.n_spikes("n") > 5
        assert recording.state("v", "v").values.shape == (50, 2)


def test_mistakes_are_told_in_one_line(branching, capsys, monkeypatch):
    monkeypatch.chdir(branching)
    nir.write("chain.nir", graphs.chain((3,), graphs.neurons("IF", 3), out=(3,)))
    np.save("bad.npy", np.full((50, 2), 0.5))
    np.save("wide.npy", np.zeros((5, 4)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("there.h5").write_text("precious")
    for arguments, words in (
        (["info", "none.nir"], "evsim nir: none.nir: no such file"),
        (["info", "there.h5"], "there.h5: not a NIR file"),
        (["run", "x.nir", "--input", "a=a.npy", "-o", "o.h5", "--dt", "1e-3"],
         "--input is given for a; it must be given once for each of a, b"),
        (["run", "x.nir", "--input", "a=a.npy", "--input", "b=bad.npy", "-o", "o.h5", "--dt", "1e-3"],
         "--input b: it holds 0.5; the graph is no chain"),
        (["run", "x.nir", "--input", "a=a.npy", "--input", "b=wide.npy", "-o", "o.h5", "--dt", "1e-3"],
         "--input b: it has shape (5, 4); it must be (T, ...) with 2 values a step"),
        (["run", "chain.nir", "--input", "wide.npy", "-o", "o.h5", "--dt", "1e-3"], "--input has shape (5, 4)"),
        (["run", "chain.nir", "--input", "objects.npy", "-o", "o.h5", "--dt", "1e-3"], "objects.npy: not an array"),
        (["run", "chain.nir", "--input", "wide.npy", "-o", "o.h5"], "give dt="),
        (["run", "chain.nir", "--input", "wide.npy", "-o", "there.h5", "--dt", "1e-3"], "output exists"),
        (["run", "chain.nir", "--input", "none.npy", "-o", "o.h5", "--dt", "1e-3"], "none.npy"),
    ):  # fmt: skip
        assert main(["nir", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert words in line
    assert not Path("o.h5").exists()
    assert Path("there.h5").read_text() == "precious"
