"""What the benchmarks share: running a script in another environment, medians, the machine."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers"  # made by install_peers.sh: NEST and Brian2
TORCH_PEERS = ROOT / ".venv-peers-torch"  # SpikingJelly 0.0.0.0.14 and BindsNET
LAYER_PEERS = ROOT / ".venv-peers-layers"  # SpikingJelly 2, sinabs and snnTorch


def last_json(command: list[str]) -> dict[str, Any]:
    """Run a command and read the JSON line it ends with."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def evsim_run(*arguments: str) -> dict[str, Any]:
    """`evsim run ...` on the CPU, in a process of its own."""
    return last_json([sys.executable, "-m", "evsim", "run", *arguments, "--backend", "cpu", "--json"])


def peer_run(script: str, *arguments: str, environment: Path = PEERS) -> dict[str, Any]:
    """A peer's script in the peers' environment."""
    python = environment / "bin" / "python"
    if not python.exists():
        sys.exit("the peers are not installed; run: bash bench/install_peers.sh")
    return last_json([str(python), f"bench/peers/{script}", *arguments, "--json"])


def parser(description: str, repeat: int) -> argparse.ArgumentParser:
    """Options every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of every side")
    made.add_argument("--repeat", type=int, default=repeat, help="runs of each side, in turn")
    made.add_argument("--out", type=Path, help="also write the JSON line to this file")
    return made


def median(results: list[dict[str, Any]], key: str) -> float:
    """The median of one figure over runs."""
    return statistics.median(result[key] for result in results)


def finish(result: dict[str, Any], out: Path | None) -> None:
    """Print the JSON line of a result and the machine, and keep it."""
    write_line({"machine": machine(), **result}, out)


def write_line(result: dict[str, Any], out: Path | None) -> None:
    """Print a result as a JSON line, and keep it."""
    line = json.dumps(result)
    print(line)
    if out:
        out.write_text(line + "\n")


def machine() -> dict[str, Any]:
    """The processor and how many of its cores this process may use."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x.split(":")[1].strip() for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = names[0] if names else name
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), "system": platform.system()}
