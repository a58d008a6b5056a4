"""Recordings as Neo objects, for elephant and other tools of electrophysiology."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import neo

    from evsim.io.reader import Recording


def to_block(recording: Recording) -> neo.Block:
    """A Neo block of one segment with all spikes and states of a recording.

    Every recorded neuron, also a silent one, has a SpikeTrain (ms) annotated with `population` and `neuron`;
    every recorded variable has an AnalogSignal named <population>.<variable>, annotated with `population`,
    `variable` and, per channel, `neuron`. A group per population collects them. The recording's metadata are
    the block's annotation `metadata`.

    Raises
    ------
    ImportError : neo is not installed.
    """
    try:
        import neo
        import quantities as pq
    except ImportError as error:
        raise ImportError("to_neo needs neo: pip install 'evsim[neo]'") from error

    block = neo.Block(name=recording.path.name, file_origin=str(recording.path))
    block.annotate(metadata=recording.metadata)
    segment = neo.Segment(name="simulation")
    block.segments.append(segment)
    groups = {}
    for population in dict.fromkeys([*recording.recorded, *recording.variables]):
        groups[population] = neo.Group(name=population)
        block.groups.append(groups[population])
    end = recording.duration * pq.ms
    everyone = []
    for population in recording.recorded:
        ids, times = recording.spikes(population)
        size = recording.populations[population]
        order = np.argsort(ids, kind="stable")
        bounds = np.searchsorted(ids[order], np.arange(1, size))
        trains = [
            neo.SpikeTrain(spikes * pq.ms, t_stop=end, population=population, neuron=neuron)
            for neuron, spikes in enumerate(np.split(times[order], bounds))
        ]
        groups[population].spiketrains.extend(trains)
        everyone += trains
    segment.spiketrains.extend(everyone)  # one by one, each would be compared with all before it
    for population, variables in recording.variables.items():
        for variable in variables:
            state = recording.state(population, variable)
            if len(state.times) == 0:
                continue
            signal = neo.AnalogSignal(
                state.values,
                units=_unit(state.units),
                t_start=state.times[0] * pq.ms,
                sampling_period=state.every * pq.ms,
                name=f"{population}.{variable}",
                array_annotations={"neuron": state.ids},
                population=population,
                variable=variable,
                recorded_units=state.units,
            )
            segment.analogsignals.append(signal)
            groups[population].analogsignals.append(signal)
    return block


def _unit(name: str) -> object:
    """The unit of that name, or none where `quantities` does not know it."""
    import quantities as pq

    try:
        return pq.Quantity(1.0, name).units
    except (LookupError, SyntaxError):
        return pq.dimensionless
