"""The tables of a run of scripts/gpu.sh, from its JSON lines: written to FOLDER/summary.md and printed.

python bench/gpu_summary.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

LAYERS = ("layers-chain", "layers-cnn")
TRAINING = ("training-lif", "training-chain", "training-cnn")
CASES = ("microcircuit-poisson", "microcircuit-dc", "brunel-1g", "brunel-3g", "vogels-1g", "brunel-small")


def describe(result: dict[str, Any]) -> str:
    """The device, its clocks and versions, in a line."""
    device = dict(result["device"])
    head = f"{device.pop('name')}, compute capability {device.pop('compute_capability')}"
    rest = ", ".join(f"{name} {value}" for name, value in device.items() if value is not None)
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{head} ({rest}); host {result['machine']['cpu']}, {result['machine']['cores']} cores; {versions}."


def case_table(results: list[dict[str, Any]]) -> str:
    """A line for each network."""
    lines = [
        "| network | synapses | rate, Hz | real-time factor | goal | us a step | events/s | floor / time (bound by) | "
        "ready, s | device memory, GB | launches per model s | host us a launch |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        rate = one["spikes"] / one["neurons"] / one["model_ms"] * 1e3
        share = f"{one['floor_fraction']:.2f} ({one['floor_is']})" if "floor_fraction" in one else "-"
        memory = one["device_memory_bytes"]
        cells = [
            one["benchmark"],
            f"{one['synapses'] / 1e6:,.0f} M",
            f"{rate:.1f}",
            f"**{one['real_time_factor']:.3g}**",
            one["goal"] or "-",
            f"{one['us_per_step']:.3g}",
            f"{one['events_per_s']:.3g}",
            share,
            f"{one['ready_s']:.2f}",
            "-" if memory is None else f"{memory / 1e9:.2f}",
            f"{one['launches_per_model_s']:.1f}" if "launches_per_model_s" in one else "-",
            f"{one['launch_host_us']:.0f}" if "launch_host_us" in one else "-",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def layer_table(results: list[dict[str, Any]]) -> str:
    """A line for each layered network."""
    lines = [
        "| layered network | batch | steps | samples/s | us a sample's step | spikes of a neuron in a step, by layer | "
        "CPU samples/s (threads) | first batch, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        cells = [
            one["benchmark"],
            one["batch"],
            one["steps"],
            f"**{one['samples_per_s']:,.0f}**",
            f"{one['us_per_sample_step']:.3g}",
            ", ".join(map(str, one["layer_rates"])),
            f"{one['cpu_samples_per_s']:,.0f} ({one['cpu_threads']})",
            f"{one['first_batch_s']:.1f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def training_table(results: list[dict[str, Any]]) -> str:
    """A line for each network that learns."""
    lines = [
        "| training | batch | steps | s a batch | samples/s | forward, s | backward, s | CPU s a batch (threads) | "
        "largest difference of a gradient | device memory, GB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        memory = one["device_memory_bytes"]
        cells = [
            one["benchmark"],
            one["batch"],
            one["steps"],
            f"**{one['seconds_per_batch']:.4f}**",
            f"{one['samples_per_s']:,.0f}",
            f"{one['forward_s']:.4f}",
            f"{one['backward_s']:.4f}",
            f"{one['cpu_seconds_per_batch']:.4f} ({one['cpu_threads']})",
            f"{one['largest_difference']:.1e}",
            "-" if memory is None else f"{memory / 1e9:.2f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def ceiling_table(ceilings: dict[str, Any]) -> str:
    """What the device itself can do."""
    barriers = ", ".join(f"{us:.2f} ({blocks} blocks)" for blocks, us in ceilings["barrier_us"].items())
    atomics = ", ".join(f"{rate:.3g} ({int(n) / 2**20:g} MiB)" for n, rate in ceilings["atomics_per_s"].items())
    rows = {
        "barrier of the grid, us": barriers,
        "dependent load from the L2 cache, ns": f"{ceilings['load_l2_ns']:.0f}",
        "dependent load from memory, ns": f"{ceilings['load_memory_ns']:.0f}",
        "bytes read/s": f"{ceilings['read_bytes_per_s']:.3g}",
        "integer atomic additions/s at random places": atomics,
        "an empty launch and its end, us": f"{ceilings['launch_us']:.1f}",
    }
    return "\n".join(["| ceiling | measured |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])


def main() -> None:
    folder = Path(sys.argv[1])
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    results = [found[name] for name in CASES if name in found]
    layers = [found[name] for name in LAYERS if name in found]
    training = [found[name] for name in TRAINING if name in found]
    if not results and not layers and not training:
        sys.exit(f"gpu_summary: no result in {folder}")
    parts = [describe((results or layers or training)[0])]
    if results:
        parts.append(case_table(results))
    if layers:
        parts.append(layer_table(layers))
    if training:
        parts.append(training_table(training))
    if "brunel-small" in found:
        small = found["brunel-small"]
        parts.append(
            f"The small network takes {small['gpu_over_cpu']:.2f} times as long as on one CPU core (goal: at most 3). "
            f"A script's second start takes {small['second_start_s']:.2f} s."
        )
    if "ceilings" in found:
        parts.append(ceiling_table(found["ceilings"]))
    text = "\n\n".join(parts) + "\n"
    (folder / "summary.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
