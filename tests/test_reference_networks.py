"""The published networks behave as published; the microcircuit has a file of its own."""

import pytest

import evsim
from evsim.reference_networks import vogels


def test_vogels_fires_as_with_conductances():
    """The same network with conductances, integrated with NumPy in steps of 0.1 ms, fires at 13.2 Hz."""
    sim = evsim.Simulation(vogels(), backend="cpu")
    assert sim.n_synapses == 4000 * 80
    sim.run(500.0)
    before = sim.n_spikes
    sim.run(500.0)
    assert (sim.n_spikes - before) / 4000 / 0.5 == pytest.approx(13.2, rel=0.15)


def test_vogels_refuses_too_few_neurons():
    with pytest.raises(ValueError, match="neurons is 100; it must be at least 250"):
        vogels(100)
