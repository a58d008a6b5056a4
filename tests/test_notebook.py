"""The analysis notebook runs on a recording from its first cell to its last."""

from pathlib import Path

import numpy as np
import pytest

from evsim.io.recording import RecordingWriter, ReportSpec

NOTEBOOK = Path(__file__).parents[1] / "scripts" / "analysis.ipynb"


def record_poisson(path):
    """1 s of Poisson spikes and a random walk, recorded as a simulation would."""
    rng = np.random.default_rng(0)
    sizes = {"exc": 400, "inh": 100}
    report = ReportSpec("v", "exc", "v", np.arange(3), "mV", every_ms=1.0)
    with RecordingWriter(path, sizes, list(sizes), [report], dt=0.1, metadata={"seed": 0}) as writer:
        for chunk in range(10):
            for population, size in sizes.items():
                n = rng.poisson(20.0 * size * 0.1)
                steps = np.sort(rng.integers(chunk * 1000, (chunk + 1) * 1000, n))
                writer.write_spikes(population, steps, rng.integers(0, size, n, np.uint32))
            writer.write_frames("v", rng.normal(10.0, 2.0, (100, 3)))
            writer.commit((chunk + 1) * 1000)


def test_notebook_is_committed_without_outputs():
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::DeprecationWarning:jupyter_client")
def test_notebook_runs_on_a_recording(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    record_poisson(tmp_path / "a.h5")
    monkeypatch.setenv("EVSIM_RECORDING", str(tmp_path / "a.h5"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3  # raster, histograms, traces
    table = "".join(output.text for output in outputs if output.output_type == "stream")
    for line, size in zip(table.splitlines()[1:], (400, 100), strict=True):
        _, neurons, rate, cv, correlation = line.split()
        assert int(neurons) == size
        assert abs(float(rate) - 20.0) < 1.5
        assert 0.85 < float(cv) < 1.05
        assert abs(float(correlation)) < 0.01
