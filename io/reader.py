"""Reading recordings: finished, still growing, or left by a killed simulation."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from evsim.io import sonata

if TYPE_CHECKING:
    import neo
    import pandas


class State(NamedTuple):
    """A recorded state variable.

    times : float64 (T,), ms. ids : int64 (V,), index of each neuron in its population.
    values : float32 (T, V), in `units`. every : interval between frames, ms.
    """

    times: np.ndarray
    ids: np.ndarray
    values: np.ndarray
    variable: str
    units: str
    every: float


class Rows:
    """The first rows of a dataset, read when they are asked for: rows[-1], rows[::10, :5], numpy.asarray(rows)."""

    def __init__(self, data: h5py.Dataset, n: int) -> None:
        self._data = data
        self.shape = (n, *data.shape[1:])
        self.dtype = data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        row, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(row, int | np.integer):
            if not -len(self) <= row < len(self):
                raise IndexError(f"index {row} is outside [0, {len(self)})")
            row = int(row) % len(self)
        elif isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            row = slice(start, max(start, stop), step)
        else:
            raise TypeError(f"index of the first dimension is {row!r}; it must be a whole number or a slice")
        values: np.ndarray = self._data[(row, *rest)]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"<{self.shape[0]} rows of {self._data.name}, shape {self.shape}, {self.dtype}>"


class WeightHistory(NamedTuple):
    """Recorded weights of a projection.

    times : float64 (T,), ms: the weights as spikes before that time have made them. pre, post : int64 (n,), source and
    target of each recorded synapse, as `Simulation.synapses` numbers them. delay : float64 (n,), ms. values : float32
    (T, n), of a file read when indexed, as long as the recording is open. synapses : int64 (n,), which of the
    projection's synapses these are.
    """

    times: np.ndarray
    pre: np.ndarray
    post: np.ndarray
    delay: np.ndarray
    values: Rows | np.ndarray
    synapses: np.ndarray


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """Open a recording for reading, while it grows, once it is finished, or after its simulation was killed.

    Parameters
    ----------
    path
        File that evsim wrote.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not a recording of evsim, or of a later evsim.
    """
    return Recording(path)


class Recording:
    """A recording of evsim. Nothing is read before it is asked for; see `open_recording`.

    Of a file that is growing or was cut off, the whole batches are shown, and every call shows those there by
    then.

    Attributes
    ----------
    path
        The file.
    dt
        Step in ms.
    populations
        Name -> number of neurons, of every population of the network.
    recorded
        Populations whose spikes were recorded.
    variables
        Population -> recorded state variables.
    projections
        Projections whose weights were recorded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            own = self._file["evsim"]
            self.dt = float(own.attrs["dt"])
            self.populations: dict[str, int] = json.loads(own.attrs["populations"])
            self._rows = own["batches"]
            self._columns: list[str] = json.loads(self._rows.attrs["columns"])
            self.recorded = [c.partition("/")[2] for c in self._columns if c.startswith("spikes/")]
            self.projections = [c.partition("/")[2] for c in self._columns if c.startswith("weights/")]
            self._reports: dict[tuple[str, str], str] = {}
            self.variables: dict[str, list[str]] = {}
            for column in self._columns:
                if column.startswith("report/"):
                    group = self._file[column]
                    population, variable = group.attrs["population"], group.attrs["variable"]
                    self._reports[population, variable] = column
                    self.variables.setdefault(population, []).append(variable)
        except BaseException:
            self._file.close()
            raise

    @property
    def writing(self) -> bool:
        """Whether a simulation on this machine is still writing the file."""
        return self.unfinished and sonata.is_running(json.loads(self._file["evsim"].attrs["writer"]))

    @property
    def unfinished(self) -> bool:
        """Whether the file was not closed when opened here: still being written, or its writer was killed."""
        return bool(self._file.swmr_mode)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the writer was given, with evsim_version, started, complete and "final", its closing words."""
        own = self._file["evsim"]
        final = bytes(self._fresh("evsim/final")[:]).decode()
        return {
            **json.loads(own["metadata"][()].decode()),
            "evsim_version": own.attrs["evsim_version"],
            "started": own.attrs["started"],
            "complete": self.complete,
            "final": json.loads(final) if final else {},
        }

    @property
    def complete(self) -> bool:
        """Whether the simulation ended as planned."""
        return bool(self._fresh("evsim/complete")[()])

    @property
    def duration(self) -> float:
        """Simulated time recorded so far, in ms."""
        return float(sonata.step_times(self.lengths()["steps"], self.dt))

    def n_spikes(self, population: Any) -> int:
        """Number of recorded spikes of a population."""
        return self.lengths()[f"spikes/{self._spiking(population)}"]

    def spikes(
        self, population: Any, start: float | None = None, stop: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spikes of a population in order of time.

        Parameters
        ----------
        population
            Name of the population, or the population itself.
        start, stop
            Time window in ms, start <= t < stop; left out: from the beginning, to the end.

        Returns
        -------
        ids : int64 (n,), index of each neuron in its population. times : float64 (n,), ms.

        Raises
        ------
        ValueError : the population is unknown or its spikes were not recorded.
        """
        column = f"spikes/{self._spiking(population)}"
        n = self.lengths()[column]
        times = self._file[f"{column}/timestamps"]
        low = 0 if start is None else _first_at_or_after(times, n, start)
        high = n if stop is None else _first_at_or_after(times, n, stop)
        high = max(low, high)
        return self._file[f"{column}/node_ids"][low:high].view(np.int64), times[low:high]

    def state(
        self, population: Any, variable: str = "v", start: float | None = None, stop: float | None = None
    ) -> State:
        """A recorded state variable.

        Parameters
        ----------
        population
            Name of the population, or the population itself.
        variable
            Name of the state variable.
        start, stop
            Time window in ms, start <= t < stop; left out: from the beginning, to the end.

        Returns
        -------
        State : times (T,), ids (V,), values (T, V), variable, units.

        Raises
        ------
        ValueError : the population is unknown, or the variable was not recorded.
        """
        name = self._known(population)
        if (name, variable) not in self._reports:
            known = ", ".join(f"{v} of {p}" for p, v in self._reports) or "none"
            raise ValueError(f"{self.path.name}: state '{variable}' of '{name}' was not recorded; recorded: {known}")
        column = self._reports[name, variable]
        n = self.lengths()[column]
        group = self._file[column]
        t0, _, step = (float(x) for x in group["mapping/time"][()])
        first, every = sonata.to_steps(t0, self.dt), sonata.to_steps(step, self.dt)
        low = 0 if start is None else min(n, max(0, int(np.ceil((start - t0) / step - 1e-9))))
        high = n if stop is None else min(n, max(low, int(np.ceil((stop - t0) / step - 1e-9))))
        times = sonata.step_times(first + every * np.arange(low, high), self.dt)
        ids = group["mapping/node_ids"][()].view(np.int64)
        return State(times, ids, group["data"][low:high], variable, str(group["data"].attrs["units"]), step)

    def weights(self, projection: Any) -> WeightHistory:
        """Recorded weights of a projection.

        Parameters
        ----------
        projection
            Name of the projection, or the projection itself.

        Returns
        -------
        WeightHistory : times (T,), pre (n,), post (n,), delay (n,), values (T, n), synapses (n,).

        Raises
        ------
        ValueError : the weights of the projection were not recorded.
        """
        name = getattr(projection, "name", projection)
        if name not in self.projections:
            known = ", ".join(self.projections) or "none"
            raise ValueError(f"{self.path.name}: weights of '{name}' were not recorded; recorded: {known}")
        n = self.lengths()[f"weights/{name}"]
        group = self._file[f"evsim/weights/{name}"]
        pre, post = (group[side][()].astype(np.int64) for side in ("pre", "post"))
        return WeightHistory(
            group["times"][:n], pre, post, group["delay"][()], Rows(group["values"], n), group["synapses"][()]
        )

    def to_dataframe(self, population: Any = None) -> pandas.DataFrame:
        """Spikes as a table with the columns population, neuron and time (ms).

        Parameters
        ----------
        population
            One population; left out: all recorded ones, one after the other.

        Raises
        ------
        ImportError : pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_dataframe needs pandas: pip install 'evsim[pandas]'") from error
        names = self.recorded if population is None else [self._spiking(population)]
        spikes = [self.spikes(name) for name in names]
        codes = np.repeat(np.arange(len(names)), [len(ids) for ids, _ in spikes])
        return pandas.DataFrame(
            {
                "population": pandas.Categorical.from_codes(codes, names),
                "neuron": np.concatenate([ids for ids, _ in spikes]) if spikes else np.zeros(0, np.int64),
                "time": np.concatenate([times for _, times in spikes]) if spikes else np.zeros(0),
            }
        )

    def to_neo(self) -> neo.Block:
        """The recording as a Neo block; see `evsim.io.neo_block`.

        Raises
        ------
        ImportError : neo is not installed.
        """
        from evsim.io.neo_block import to_block

        return to_block(self)

    def lengths(self) -> dict[str, int]:
        """Rows of whole batches: "steps" done, and the length of every spike population, report and weights."""
        _, row = self._last_whole()
        return dict(zip(["steps", *self._columns], row, strict=True))

    def n_batches(self) -> int:
        """Number of whole batches in the file."""
        return self._last_whole()[0]

    def close(self) -> None:
        """Close the file; arrays already read stay."""
        self._file.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self._file:
            return f"<Recording '{self.path}', closed>"
        rows = self.lengths()
        parts = [f"{float(sonata.step_times(rows['steps'], self.dt)):g} ms"]
        parts += [f"{p}: {self.populations[p]} neurons, {rows[f'spikes/{p}']} spikes" for p in self.recorded]
        parts += [f"{p}.{v}: {rows[column]} frames" for (p, v), column in self._reports.items()]
        parts += [f"weights of {name}: {rows[f'weights/{name}']} snapshots" for name in self.projections]
        return f"<Recording '{self.path}': {'; '.join(parts)}{'' if self.complete else '; not complete'}>"

    def _last_whole(self) -> tuple[int, list[int]]:
        """Number of the last batch all of whose rows are in the file, and its row of lengths."""
        rows = self._fresh("evsim/batches")
        actual = [min(len(self._fresh(path)) for path in sonata.growing(column)) for column in self._columns]
        for end in range(len(rows), 0, -1024):
            begin = max(0, end - 1024)
            block = rows[begin:end]
            whole = (block[:, 0] == np.arange(begin + 1, end + 1)) & (block[:, 2:] <= actual).all(axis=1)
            if whole.any():
                number, *row = block[whole][-1].tolist()
                return number, row
        return 0, [0] * (1 + len(self._columns))

    def _fresh(self, path: str) -> h5py.Dataset:
        data = self._file[path]
        if self.unfinished:
            data.id.refresh()
        return data

    def _known(self, population: Any) -> str:
        name = getattr(population, "name", population)
        if name not in self.populations:
            raise ValueError(f"{self.path.name}: unknown population '{name}'; known: {', '.join(self.populations)}")
        return str(name)

    def _spiking(self, population: Any) -> str:
        name = self._known(population)
        if name not in self.recorded:
            known = ", ".join(self.recorded) or "none"
            raise ValueError(f"{self.path.name}: spikes of '{name}' were not recorded; recorded: {known}")
        return name


def _open(path: Path) -> h5py.File:
    """Open plainly or, where a writer is at work or was killed, as a SWMR reader."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no recording there", str(path))
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not a recording: not an HDF5 file, or cut off before recording began")
    try:
        file = h5py.File(path, "r")
    except OSError:
        try:
            file = h5py.File(path, "r", swmr=True)
        except OSError as error:
            raise ValueError(
                f"{path} cannot be opened: cut off before recording began, damaged, or in use ({error})"
            ) from error
    own = file.get("evsim")
    if own is None or own.attrs.get("format") != sonata.FORMAT:
        file.close()
        raise ValueError(f"{path} is an HDF5 file but not a recording of evsim; open it with h5py or libsonata")
    if own.attrs["format_version"] > sonata.FORMAT_VERSION:
        version, wrote = own.attrs["format_version"], own.attrs["evsim_version"]
        file.close()
        raise ValueError(
            f"{path} has format version {version}, written by evsim {wrote}; this evsim reads up to version "
            f"{sonata.FORMAT_VERSION}: upgrade evsim"
        )
    return file


def _first_at_or_after(times: h5py.Dataset, n: int, time: float) -> int:
    """Index of the first of `n` ascending times that is >= `time`, reading one element a bisection step."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if times[middle] < time:
            low = middle + 1
        else:
            high = middle
    return low
