"""A NIR graph made flat: subgraphs dissolved, shapes known, feedback found. Every mistake names its node or edge."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.layers import Layer
from evsim.nir_layers import make_layer

__all__ = ["NEURONS", "PARAMETERS", "SILENT", "Edge", "Vertex", "flatten_graph"]

Shape = tuple[int, ...]
Edge = tuple[str, str]

PARAMETERS = {  # those of which each unit has one
    "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "Threshold": ("threshold",),
    "Scale": ("scale",),
    "Delay": ("delay",),
}
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold")
SILENT = ("I", "LI", "CubaLI")  # neurons that do not spike
BORDER = ("Input", "Output")
KINDS = (*PARAMETERS, "Affine", "Linear", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Input", "Output")


@dataclass
class Vertex:
    """A node of the flat graph."""

    name: str  # "<subgraph>.<node>" within a subgraph
    kind: str
    node: Any  # of the nir package
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    shape_in: Shape | None = None
    shape: Shape | None = None  # of what leaves it
    layer: Layer | None = None  # what it is in evsim, where it is a layer

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"node {self.name!r} ({self.kind})"

    @property
    def size(self) -> int:
        """Units that leave it."""
        return int(np.prod(self.shape or (), dtype=int))

    def value(self, name: str) -> Any:
        """A parameter as a number, or as an array with one value a unit, in C order."""
        array = np.asarray(getattr(self.node, name))
        return array.reshape(())[()] if array.size == 1 else array.reshape(-1)


def flatten_graph(graph: Any, dt: float) -> tuple[dict[str, Vertex], set[Edge]]:
    """All nodes with their shapes, subgraphs dissolved; and the edges of feedback, which take a step.

    Of each cycle on which no Delay of at least a step lies, the edge that closes it takes a step: going from the
    Inputs along the edges in their order, the first that leads back to a node on the way.

    Raises
    ------
    ValueError : an unknown node, an edge from or to nothing, shapes that do not fit.
    """
    vertices: dict[str, Vertex] = {}
    edges = _without_borders(vertices, list(_collect(graph, "", vertices)))
    for source, target in edges:
        vertices[source].targets.append(target)
        vertices[target].sources.append(source)
    inputs = [vertex for vertex in vertices.values() if vertex.kind == "Input"]
    if not inputs:
        raise ValueError("graph: it has no Input; add one, and an edge from it to the first node")
    vertices = _give_shapes(vertices, inputs)
    return vertices, _find_feedback(vertices, dt)


def _collect(graph: Any, prefix: str, vertices: dict[str, Vertex]) -> Iterator[Edge]:
    """All nodes of a graph and of its subgraphs; yields their edges, where a subgraph's name stands for its border."""
    borders: dict[str, tuple[str, str]] = {}  # of subgraphs: names of their Input and Output
    where = f"subgraph {prefix[:-1]!r}, " if prefix else ""
    for name, node in graph.nodes.items():
        kind, full = type(node).__name__, prefix + name
        if kind == "NIRGraph":
            yield from _collect(node, full + ".", vertices)
            ends = [[f"{full}.{n}" for n, each in node.nodes.items() if type(each).__name__ == k] for k in BORDER]
            if any(len(each) != 1 for each in ends):
                raise ValueError(
                    f"node {full!r} (NIRGraph): it has {len(ends[0])} Inputs and {len(ends[1])} Outputs; a subgraph "
                    "must have one of each"
                )
            borders[name] = ends[0][0], ends[1][0]
            for end in borders[name]:
                vertices[end].kind = "Border"
        elif kind not in KINDS:
            raise ValueError(f"node {full!r}: its type is {kind}; it must be one of NIRGraph, {', '.join(KINDS)}")
        else:
            vertices[full] = Vertex(full, kind, node)
    seen: set[Edge] = set()
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise ValueError(
                    f"{where}edge {source!r} -> {target!r}: there is no node {end!r}; nodes are "
                    f"{', '.join(map(repr, graph.nodes))}"
                )
        if (source, target) in seen:
            raise ValueError(f"{where}edge {source!r} -> {target!r}: it is there twice; edges must differ")
        seen.add((source, target))
        if type(graph.nodes[target]).__name__ == "Input" or type(graph.nodes[source]).__name__ == "Output":
            raise ValueError(f"{where}edge {source!r} -> {target!r}: nothing enters an Input or leaves an Output")
        yield (
            borders[source][1] if source in borders else prefix + source,
            borders[target][0] if target in borders else prefix + target,
        )


def _without_borders(vertices: dict[str, Vertex], edges: list[Edge]) -> list[Edge]:
    """The edges where each Input and Output of a subgraph has become direct edges."""
    for border in [name for name, vertex in vertices.items() if vertex.kind == "Border"]:
        sources = [a for a, b in edges if b == border]
        direct = []
        for a, b in edges:  # in the place of the edges that leave it
            if a == border:
                direct += [(source, b) for source in sources]
            elif b != border:
                direct.append((a, b))
        edges = direct
        del vertices[border]
    return edges


def _find_feedback(vertices: dict[str, Vertex], dt: float) -> set[Edge]:
    """The edges that close a cycle within a step, by depth-first search; what leaves a Delay of a step closes none."""

    def onward(name: str) -> Iterator[str]:
        vertex = vertices[name]
        if vertex.kind == "Delay" and np.all(np.rint(np.asarray(vertex.node.delay) / dt) >= 1.0):
            return iter(())
        return iter(vertex.targets)

    feedback: set[Edge] = set()
    done: dict[str, bool] = {}  # False: on the way
    for start in sorted(vertices, key=lambda name: vertices[name].kind != "Input"):
        way = [] if start in done else [(start, onward(start))]
        done.setdefault(start, False)
        while way:
            name, targets = way[-1]
            target = next(targets, None)
            if target is None:
                done[way.pop()[0]] = True
            elif target not in done:
                done[target] = False
                way.append((target, onward(target)))
            elif not done[target]:
                feedback.add((name, target))
    return feedback


def _give_shapes(vertices: dict[str, Vertex], inputs: list[Vertex]) -> dict[str, Vertex]:
    """Follow all edges from the Inputs; returns the nodes in the order in which they are reached."""
    reached = {vertex.name: vertex for vertex in inputs}
    ahead = list(inputs)
    for vertex in inputs:
        given = (vertex.node.input_type or {}).get("input")
        if given is None:
            raise ValueError(f"{vertex.label}: it has no shape")
        vertex.shape = _as_shape(given)
    while ahead:
        source = ahead.pop(0)
        assert source.shape is not None
        for target in (vertices[name] for name in source.targets):
            edge = f"edge {source.name!r} -> {target.name!r}"
            if target.shape is None:
                target.shape_in = source.shape
                target.shape = _shape_out(target, edge, source.shape)
                reached[target.name] = target
                ahead.append(target)
            elif target.shape_in != source.shape:
                raise ValueError(
                    f"{edge}: {source.label} gives {source.shape}, but {target.label} takes {target.shape_in}"
                )
    for vertex in vertices.values():
        if vertex.shape is None:
            raise ValueError(f"{vertex.label}: no way leads to it from an Input; add an edge")
    return reached


def _shape_out(vertex: Vertex, edge: str, shape: Shape) -> Shape:
    """The shape of what leaves a node that `shape` enters."""
    node = vertex.node

    def require(taken: Any, of: str = "") -> None:
        if taken is not None and _as_shape(taken) != shape:
            raise ValueError(f"{edge}: {shape} enters {vertex.label}, which takes {_as_shape(taken)}{of}")

    for name in PARAMETERS.get(vertex.kind, ()):
        if np.size(getattr(node, name)) != 1:
            require(np.shape(getattr(node, name)), f", the shape of its {name}")
    if vertex.kind == "Output":
        require((node.output_type or {}).get("output"))
    if vertex.kind == "Flatten":
        require((node.input_type or {}).get("input"))
        if not shape:
            raise ValueError(f"{edge}: a single number enters {vertex.label}; it must be an array")
        first, last = (int(axis) + len(shape) * (axis < 0) for axis in (node.start_dim, node.end_dim))
        if not 0 <= first <= last < len(shape):
            raise ValueError(
                f"{edge}: {shape} enters {vertex.label}; its start_dim {node.start_dim} and end_dim {node.end_dim} "
                "must be axes of it, in this order"
            )
        return (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
    try:
        vertex.layer = make_layer(vertex.kind, node)
        return shape if vertex.layer is None else vertex.layer.output_shape(vertex.label, shape)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise ValueError(f"{edge}: {text if vertex.label in text else f'{vertex.label}: {text}'}") from error


def _as_shape(given: Any) -> Shape:
    return tuple(int(n) for n in np.asarray(given).reshape(-1))
