"""The table of a `Sequential`: what each layer makes of a sample, and what it takes."""

from collections.abc import Sequence

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.layers import Layer
from evsim.neurons import NeuronModel

HEADERS = ("layer", "output", "neurons", "synapses", "weights", "state")


def summarise(layers: Sequence[Layer | NeuronModel], built: BatchBuilt) -> str:
    """Layers with their output shape, neurons, synapses, bytes of weights, and bytes of a sample's state."""
    rows: list[tuple[str, ...]] = [HEADERS]
    nodes = {node.layer: node for node in built.nodes}
    totals = [0, 0, 0, 0]
    for index, layer in enumerate(layers):
        name = repr(layer) if isinstance(layer, Layer) else type(layer).__name__
        if index not in nodes:
            rows.append((f"{index} {name}", "", "", "", "", ""))
            continue
        numbers = _numbers(nodes[index])
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        shape = "(" + ", ".join(map(str, nodes[index].shape)) + ")"
        rows.append((f"{index} {name}", shape, *_words(numbers)))
    rows.append(("total", "", *_words(totals)))
    widths = [max(len(row[c]) for row in rows) for c in range(len(HEADERS))]
    lines = ["  ".join(_align(row[c], widths[c], c) for c in range(len(HEADERS))).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _numbers(node: Node) -> list[int]:
    """Neurons, synapses, bytes of weights and bytes of a sample's state."""
    row = node.row
    per_neuron = 4 * (row[bm.V_AT] >= 0) + 4 * (row[bm.CURRENT_AT] >= 0) + 4 * (row[bm.REFRACTORY_AT] >= 0)
    per_neuron += 8 * (row[bm.THETA_AT] >= 0) + 2 * (row[bm.BACK_AT] >= 0)
    return [node.size if row[bm.NEURONS] == 1 else 0, node.n_synapses, 4 * node.n_weights, int(per_neuron) * node.size]


def _words(numbers: list[int]) -> tuple[str, ...]:
    neurons, synapses, weights, state = numbers
    return f"{neurons:,}", f"{synapses:,}", f"{weights:,} B", f"{state:,} B"


def _align(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)
