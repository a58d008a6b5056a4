"""The layout of a recording: one HDF5 file that SONATA readers open as it is.

    /                              magic = 0x0A7A, version = (0, 1)
    /spikes/<population>           sorting = by_time
        timestamps                 float64 (n_spikes,), ms
        node_ids                   uint64 (n_spikes,), local to the population
    /report/<population>           population, variable, name
        data                       float32 (n_frames, n_ids), units
        mapping/node_ids           uint64 (n_ids,)
        mapping/index_pointers     uint64 (n_ids + 1,); also linked as index_pointer
        mapping/element_ids        uint32 (n_ids,), 0; element_pos float32 (n_ids,), 0
        mapping/time               float64 (3,): start, stop, step, ms
    /evsim                         format, format_version, evsim_version, dt, populations, started, writer
        metadata                   JSON text given when the recording began
        batches                    int64 (n_batches, 2 + n_columns): batch number from 1, steps done, then the
                                   length of each spike group, report and weights group in its attribute `columns`
        final                      JSON text given when it ended, uint8 (n,)
        complete                   uint8, 1 once it ended as planned
        weights/<projection>       source, target
            pre, post              uint32 (n,), of each recorded synapse, within source and target; delay float64, ms
            synapses               int64 (n,), their numbers among all of the projection
            times                  float64 (n_snapshots,), ms
            values                 float32 (n_snapshots, n)

SONATA keeps one report per population and file. `v`, or the first variable where `v` is not recorded, is
/report/<population>; every further variable is /report/<population>.<variable>, which other readers show as
one more population. The attributes `population` and `variable` say what each one is.

A batch exists once its row of `batches` and all the lengths it names are in the file, so that a reader of a
file that is growing, or whose writer was killed, sees whole batches only.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from evsim._version import __version__

FORMAT = "evsim recording"
FORMAT_VERSION = 1
LIBVER = ("v110", "v114")  # "latest" writes an enum attribute that HDF5 1.14 cannot read
ACCESS: dict[str, Any] = {"libver": LIBVER, "rdcc_nbytes": 0}  # no cache of chunks: what is appended is written once
CHUNK = 65536  # elements
LIVE: set[str] = set()  # tokens of the recordings this process is writing
SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")


@dataclass(frozen=True, eq=False)
class ReportSpec:
    """One state variable of chosen neurons, sampled at a fixed interval.

    Attributes
    ----------
    name
        Key by which frames are handed over; unique in the file.
    population
        Population the neurons belong to.
    variable
        State variable, such as "v" or "i_exc".
    node_ids
        (n_ids,) distinct indices within the population.
    units
        Unit of the values, such as "mV".
    every_ms
        interval between frames in ms, a multiple of dt.
    start_ms
        Time of the first frame in ms, a multiple of dt.
    """

    name: str
    population: str
    variable: str
    node_ids: np.ndarray
    units: str
    every_ms: float
    start_ms: float = 0.0


@dataclass(frozen=True, eq=False)
class WeightSpec:
    """Weights of a projection, taken now and then.

    Attributes
    ----------
    name
        Name of the projection; unique in the file.
    source, target
        What it connects, in words.
    pre, post
        (n,) source and target of each recorded synapse.
    delay
        (n,) in ms.
    synapses
        (n,) their numbers among all synapses of the projection.
    """

    name: str
    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    delay: np.ndarray
    synapses: np.ndarray


def step_times(steps: np.ndarray | int, dt: float) -> np.ndarray:
    """Times of steps in ms: steps * dt, rounded once, so that step 3 of a 0.1 ms grid is 0.3.

    Parameters
    ----------
    steps
        integer step numbers, any shape.
    dt
        Step in ms.
    """
    steps = np.asarray(steps, np.int64)
    ratio = _ratio(dt)
    if abs(ratio.numerator / ratio.denominator - dt) > 1e-15 * dt:
        return np.multiply(steps, dt)
    return np.divide(steps * ratio.numerator, ratio.denominator)


@lru_cache
def _ratio(dt: float) -> Fraction:
    return Fraction(dt).limit_denominator(1_000_000)


def to_steps(time_ms: float, dt: float) -> int:
    """The step nearest to a time in ms."""
    return round(time_ms / dt)


def report_groups(reports: Sequence[ReportSpec]) -> dict[str, str]:
    """Group path of every report, by report name; see the module's docstring."""
    bare: dict[str, str] = {}
    for report in reports:
        if report.population not in bare or report.variable == "v":
            bare[report.population] = report.variable
    return {
        r.name: f"report/{r.population}" + ("" if r.variable == bare[r.population] else f".{r.variable}")
        for r in reports
    }


def check_layout(
    populations: Mapping[str, int],
    spikes: Sequence[str],
    reports: Sequence[ReportSpec],
    weights: Sequence[WeightSpec],
    dt: float,
) -> None:
    """Raise ValueError, naming the population or report, for what the file could not hold truthfully."""
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"recording: dt is {dt}; it must be a positive number of ms")
    for population, size in populations.items():
        if not population or "/" in population or population.strip(".") == "" or "\0" in population:
            raise ValueError(
                f"recording: population name {population!r} cannot be an HDF5 name; use letters and digits"
            )
        if size < 1:
            raise ValueError(f"recording: population '{population}' has {size} neurons; it must have at least 1")
    for population in spikes:
        _check_known(population, populations, "spikes")
    if len(set(spikes)) < len(spikes):
        raise ValueError(f"recording: spikes lists a population twice: {list(spikes)}; name each once")
    for report in reports:
        _check_report(report, populations, dt)
    for spec in weights:
        if "/" in spec.name or spec.name.strip(".") == "" or "\0" in spec.name:
            raise ValueError(
                f"weights: projection name {spec.name!r} cannot be an HDF5 name; give it another, name=..."
            )
    names = [spec.name for spec in weights]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"weights: two recorded projections are called {again!r}; give each a name of its own")
    shared: list[tuple[str, list[Any]]] = [
        ("name", [r.name for r in reports]),
        ("population and variable", [(r.population, r.variable) for r in reports]),
        ("place in the file", list(report_groups(reports).values())),
    ]
    for label, keys in shared:
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ValueError(f"recording: two reports share the {label} {min(twice)}; join or rename them")


def _check_known(population: str, populations: Mapping[str, int], where: str) -> None:
    if population not in populations:
        raise ValueError(f"{where}: unknown population '{population}'; known: {', '.join(populations)}")


def _check_report(report: ReportSpec, populations: Mapping[str, int], dt: float) -> None:
    where = f"report '{report.name}'"
    _check_known(report.population, populations, where)
    ids = np.asarray(report.node_ids)
    size = populations[report.population]
    if not report.variable or "/" in report.variable:
        raise ValueError(f"{where}: variable {report.variable!r} cannot be an HDF5 name; use letters and digits")
    if ids.ndim != 1 or len(ids) == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{where}: node_ids are {ids.dtype} {ids.shape}; give a 1-D array of at least one integer")
    if ids.min() < 0 or ids.max() >= size:
        bad = ids[(ids < 0) | (ids >= size)][0]
        raise ValueError(f"{where}: node id {bad} is not in population '{report.population}' (0 to {size - 1})")
    if len(np.unique(ids)) < len(ids):
        raise ValueError(f"{where}: node_ids name a neuron twice; name each once")
    for label, value, low in (("every_ms", report.every_ms, dt), ("start_ms", report.start_ms, 0.0)):
        if not np.isfinite(value) or value < low * (1 - 1e-9):
            raise ValueError(f"{where}: {label} is {value}; it must be at least {low} ms")
        if abs(value / dt - to_steps(value, dt)) > 1e-6:
            raise ValueError(f"{where}: {label} is {value}; it must be a multiple of dt ({dt} ms)")


def report_time(start_ms: float, every_ms: float, n_frames: int, dt: float) -> tuple[float, float, float]:
    """(start, stop, step) in ms of a report with `n_frames` frames; (stop - start) / step counts them."""
    start = to_steps(start_ms, dt)
    every = to_steps(every_ms, dt)
    t0, step = float(step_times(start, dt)), float(step_times(every, dt))
    stop = float(step_times(start + n_frames * every, dt))
    while int((stop - t0) / step) < n_frames:  # bmtk truncates this quotient
        stop = float(np.nextafter(stop, np.inf))
    return t0, stop, step


def create_recording(
    path: Path,
    populations: Mapping[str, int],
    spikes: Sequence[str],
    reports: Sequence[ReportSpec],
    weights: Sequence[WeightSpec],
    dt: float,
    metadata: Mapping[str, Any],
) -> h5py.File:
    """Create the file with every group, dataset and attribute it will ever have; SWMR allows none later."""
    text = to_json(metadata)
    file = h5py.File(path, "w", **ACCESS)
    try:
        file.attrs["magic"] = np.uint32(0x0A7A)
        file.attrs["version"] = np.array([0, 1], np.uint32)
        file.create_group("spikes")
        file.create_group("report")
        columns = []
        for population in spikes:
            columns.append(_create_spikes(file, population))
        groups = report_groups(reports)
        for report in reports:
            columns.append(_create_report(file, groups[report.name], report, dt))
        own = file.create_group("evsim")
        for spec in weights:
            columns.append(_create_weights(own, spec))
        own.attrs["format"] = FORMAT
        own.attrs["format_version"] = FORMAT_VERSION
        own.attrs["evsim_version"] = __version__
        own.attrs["dt"] = float(dt)
        own.attrs["populations"] = to_json(dict(populations))
        own.attrs["started"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        own.attrs["writer"] = to_json(this_process())
        own.create_dataset("metadata", data=np.bytes_(text.encode()))
        width = 2 + len(columns)
        batches = own.create_dataset("batches", (0, width), np.int64, maxshape=(None, width), chunks=(1024, width))
        batches.attrs["columns"] = to_json(columns)
        own.create_dataset("final", (0,), np.uint8, maxshape=(None,), chunks=(4096,))
        own.create_dataset("complete", data=np.uint8(0))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _create_spikes(file: h5py.File, population: str) -> str:
    group = file.create_group(f"spikes/{population}")
    group.attrs.create("sorting", 2, dtype=SORTING)
    times = group.create_dataset("timestamps", (0,), np.float64, maxshape=(None,), chunks=(CHUNK,))
    times.attrs["units"] = "ms"
    group.create_dataset("node_ids", (0,), np.uint64, maxshape=(None,), chunks=(CHUNK,))
    return f"spikes/{population}"


def _create_report(file: h5py.File, path: str, report: ReportSpec, dt: float) -> str:
    ids = np.asarray(report.node_ids, np.uint64)
    n = len(ids)
    group = file.create_group(path)
    group.attrs["name"] = report.name
    group.attrs["population"] = report.population
    group.attrs["variable"] = report.variable
    chunks = (max(1, CHUNK // n), min(n, CHUNK))
    data = group.create_dataset("data", (0, n), np.float32, maxshape=(None, n), chunks=chunks)
    data.attrs["units"] = report.units
    data.attrs["variable"] = report.variable
    mapping = group.create_group("mapping")
    mapping["node_ids"] = ids
    mapping["node_ids"].attrs["sorted"] = np.uint8(np.all(ids[:-1] < ids[1:]))
    mapping["index_pointers"] = np.arange(n + 1, dtype=np.uint64)
    mapping["index_pointer"] = mapping["index_pointers"]  # the name bmtk wants
    mapping["element_ids"] = np.zeros(n, np.uint32)
    mapping["element_pos"] = np.zeros(n, np.float32)
    mapping["time"] = np.array(report_time(report.start_ms, report.every_ms, 0, dt))
    mapping["time"].attrs["units"] = "ms"
    return path


def _create_weights(own: h5py.Group, spec: WeightSpec) -> str:
    group = own.create_group(f"weights/{spec.name}")
    group.attrs["source"], group.attrs["target"] = spec.source, spec.target
    group["pre"], group["post"] = np.asarray(spec.pre, np.uint32), np.asarray(spec.post, np.uint32)
    group["delay"], group["synapses"] = np.asarray(spec.delay, np.float64), np.asarray(spec.synapses, np.int64)
    times = group.create_dataset("times", (0,), np.float64, maxshape=(None,), chunks=(1024,))
    times.attrs["units"] = group["delay"].attrs["units"] = "ms"
    n = len(spec.synapses)
    chunks = (max(1, CHUNK // n), min(n, CHUNK))
    group.create_dataset("values", (0, n), np.float32, maxshape=(None, n), chunks=chunks)
    return f"weights/{spec.name}"


def growing(column: str) -> list[str]:
    """Paths of the datasets whose length a column of `batches` counts."""
    if column.startswith("spikes/"):
        return [f"{column}/timestamps", f"{column}/node_ids"]
    if column.startswith("weights/"):
        return [f"evsim/{column}/times", f"evsim/{column}/values"]
    return [f"{column}/data"]


def to_json(value: Any) -> str:
    """JSON text; NumPy scalars and arrays are written as numbers and lists.

    Raises
    ------
    TypeError : `value` holds something JSON cannot, which is named.
    """

    def plain(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        raise TypeError(f"metadata: {item!r} ({type(item).__name__}) cannot be written as JSON; use text or numbers")

    return json.dumps(value, default=plain)


def this_process() -> dict[str, Any]:
    """Who is writing: process id, host, a token of the recording, birth of the process where known."""
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "token": uuid.uuid4().hex, "began": _process_began(pid)}


def is_running(writer: Mapping[str, Any]) -> bool:
    """Whether the writer that `this_process` described is still at it; False for other hosts, unknown."""
    if writer["host"] != platform.node():
        return False
    if writer["pid"] == os.getpid():
        return writer["token"] in LIVE
    if os.name != "posix":
        return False
    try:
        os.kill(writer["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    began = _process_began(writer["pid"])
    return began is None or began == writer["began"]


def _process_began(pid: int) -> str | None:
    """Boot id and start tick of a process, on Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"
