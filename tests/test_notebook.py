"""The analysis notebook runs on a recording from its first cell to its last."""

from pathlib import Path

import pytest

import evsim
from evsim.reference_networks import brunel

NOTEBOOK = Path(__file__).parents[1] / "scripts" / "analysis.ipynb"


def record_brunel(path):
    """One second of a small Brunel network with five membrane traces; returns the rates (Hz)."""
    sim = evsim.Simulation(brunel(1000))
    exc, inh = sim.network.populations.values()
    sim.record(path, spikes=[exc, inh], state={exc[:5]: "v"}, every=0.5)
    sim.run(1000.0)
    return list(sim.rates().values())


def test_notebook_is_committed_without_outputs():
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::DeprecationWarning:jupyter_client")
def test_notebook_runs_on_a_recording(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    rates = record_brunel(tmp_path / "a.h5")
    monkeypatch.setenv("EVSIM_RECORDING", str(tmp_path / "a.h5"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3  # raster, histograms, traces
    table = "".join(output.text for output in outputs if output.output_type == "stream")
    for line, size, simulated in zip(table.splitlines()[1:], (800, 200), rates, strict=True):
        _, neurons, rate, cv, correlation = line.split()
        assert int(neurons) == size
        assert abs(float(rate) - simulated) < 0.1
        assert 0.0 < float(cv) < 1.2
        assert abs(float(correlation)) < 0.5
