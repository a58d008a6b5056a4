"""`evsim nir info` and `evsim nir run`: a NIR file as a table, and run on an input."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.io.layer_file import append_frames, create_layer_file
from evsim.io.nir_file import DT, METHOD, read_nir
from evsim.io.output import check_output
from evsim.layers import Recurrent
from evsim.neurons import NeuronModel
from evsim.nir_graph import SILENT, Vertex, flatten_graph
from evsim.nir_import import from_nir
from evsim.nir_network import NIRNetwork
from evsim.sequential import Sequential
from evsim.simulation import Simulation

__all__ = ["add_nir_options"]

HEADERS = ("node", "type", "takes", "gives", "parameters", "leads to")
NO_PARAMETERS = ("input_type", "output_type", "metadata", "input_shape")


def add_nir_options(parser: argparse.ArgumentParser) -> None:
    """The options of both, with the function to call as `do`."""
    commands = parser.add_subparsers(dest="nir_command", required=True)
    info = commands.add_parser("info", help="nodes, shapes, parameters and edges of a file")
    info.add_argument("file", type=Path, metavar="FILE.nir")
    info.set_defaults(do=_info)
    run = commands.add_parser("run", help="run a graph on an input")
    run.add_argument("file", type=Path, metavar="FILE.nir")
    run.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="[NAME=]INPUT.npy",
        help="array (T, ...) or (T, B, ...); for a graph with several Inputs, once for each, with its name",
    )
    run.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.h5", help="written; must not exist yet")
    run.add_argument("--dt", type=float, help="step, in the unit of the graph's time constants (NIR: seconds)")
    run.add_argument("--method", choices=("exact", "euler"))
    run.add_argument("--reset", choices=("to_value", "subtract"))
    run.add_argument("--backend", choices=("auto", "cpu", "cuda"), default="auto")
    run.set_defaults(do=_run)


def _info(options: argparse.Namespace) -> None:
    graph = read_nir(options.file)
    told = graph.metadata
    vertices, feedback = flatten_graph(graph, float(told.get(DT, np.finfo(float).tiny)))
    grid = f"; dt {told[DT]:g}, method {told[METHOD]!r}" if DT in told and METHOD in told else ""
    edges = sum(len(vertex.targets) for vertex in vertices.values())
    print(f"{options.file}: {len(vertices)} nodes, {edges} edges{grid}")
    rows = [HEADERS, *(_row(vertex, feedback) for vertex in vertices.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if feedback:
        print("* feedback: a step later")


def _row(vertex: Vertex, feedback: set[tuple[str, str]]) -> tuple[str, ...]:
    values = {name: value for name, value in vars(vertex.node).items() if name not in NO_PARAMETERS}
    targets = [target + ("*" if (vertex.name, target) in feedback else "") for target in vertex.targets]
    return (
        vertex.name,
        vertex.kind,
        "" if vertex.shape_in is None else str(vertex.shape_in),
        "" if vertex.kind == "Output" else str(vertex.shape),
        ", ".join(f"{name} {_value(value)}" for name, value in values.items()),
        ", ".join(targets),
    )


def _value(value: Any) -> str:
    """A number where all are the same; else the range of values, with the shape of weights."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.size and (array == array.flat[0]).all():
        return f"{array.flat[0]:g}"
    if array.dtype.kind != "f":
        return str(tuple(int(n) for n in array))
    shape = f"{array.shape} " if array.ndim > 1 else ""
    return f"{shape}{array.min():.3g} to {array.max():.3g}"


def _run(options: argparse.Namespace) -> None:
    out = check_output(options.out)
    net = from_nir(options.file, options.dt, options.method, options.reset, backend=options.backend)
    if isinstance(net, Sequential):
        if len(options.input) != 1:
            raise ValueError(f"--input is given {len(options.input)} times; the graph has one Input")
        told = _run_layers(net, _load(options.input[0].split("=", 1)[-1]), out)
    else:
        told = _run_network(net, options.input, out, options.backend)
    print(f"{told}; written to {options.out}")


def _load(path: str) -> NDArray[Any]:
    try:
        x = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: not an array of numbers as numpy.save writes it ({error})") from None
    return np.asarray(x)


def _run_layers(net: Sequential, x: NDArray[Any], out: Path) -> str:
    """Spikes of all neurons to <layer>/spikes and the output to output/values, each (T, B, ...)."""
    shape = net.compile_for("run", None)[0]
    if x.shape[1:] != shape and x.shape[2:] != shape:
        raise ValueError(f"--input has shape {x.shape}; it must be (T, ...) or (T, B, ...) with {shape} for the dots")
    if x.shape[1:] == shape:
        x = x[:, np.newaxis]
    create_layer_file(out, net.dt)
    try:
        for index, layer in enumerate(net):
            if isinstance(layer, NeuronModel | Recurrent):
                net.record(index, "spikes", file=out)
        y = net(x)
        append_frames(out, "output", "values", y)
    except BaseException:
        out.unlink()
        raise
    return f"{len(x)} steps of {net.dt:g} ms, {x.shape[1]} samples; output {y.shape}, sum {y.sum(dtype=float):g}"


def _run_network(net: NIRNetwork, given: list[str], out: Path, backend: str) -> str:
    """A recording of the spikes of all neurons, and of v of those that do not spike."""
    names, named = list(net.inputs), {}
    for each in given:
        name, equals, path = each.partition("=")
        named[name if equals else names[0]] = path if equals else each
    if sorted(named) != sorted(names) or len(named) != len(given):
        raise ValueError(
            f"--input is given for {', '.join(named)}; it must be given once for each of {', '.join(names)}"
        )
    arrays = {name: _load(path) for name, path in named.items()}
    for name, x in arrays.items():
        spikes = _as_spikes(name, x, net.inputs[name].size)
        net.add_current(f"input {name}", net.inputs[name], spikes)
    n_steps = max(len(x) for x in arrays.values())
    sim = Simulation(net, backend=backend)
    neurons = [p for p in net.populations.values() if p not in net.inputs.values()]
    silent = [p for p in neurons if type(p.model).__name__ in (*SILENT, "Readout")]
    sim.record(out, spikes=[p for p in neurons if p not in silent], state=dict.fromkeys(silent, "v"))
    sim.run(n_steps * net.dt)
    return f"{n_steps} steps of {net.dt:g} ms; {sum(sim.spike_counts()[p.name] for p in neurons)} spikes"


def _as_spikes(name: str, x: NDArray[Any], size: int) -> NDArray[np.float64]:
    """An input as numbers of spikes, (T, size)."""
    flat = x.reshape(len(x), -1) if x.ndim else x.reshape(1, 1)
    if flat.shape[1] != size:
        raise ValueError(f"--input {name}: it has shape {x.shape}; it must be (T, ...) with {size} values a step")
    spikes = flat.astype(np.float64)
    good = (spikes == np.rint(spikes)) & (spikes >= 0.0) & (spikes <= 255.0)
    if not good.all():
        raise ValueError(
            f"--input {name}: it holds {spikes[~good][0]:g}; the graph is no chain, so that its input must be spikes: "
            "whole numbers in [0, 255]"
        )
    return spikes
