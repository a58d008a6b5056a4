"""What the GPU benchmarks share: their options, the device and its clocks, the memory it has held."""

import argparse
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from common import machine

from evsim.cuda_kernels.target import SIMULATED, check_device, cuda
from evsim.versions import versions

SMI_FIELDS = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"


def device_parser(description: str) -> argparse.ArgumentParser:
    """Options every GPU benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="sizes for the CUDA simulator: proves that it runs")
    parser.add_argument("--out", type=Path, help="also write the JSON line to this file")
    return parser


def describe_device() -> dict[str, Any]:
    """The GPU, its clocks just now, the machine around it, and versions."""
    device = check_device()
    return {
        "device": {
            "name": device.name,
            "compute_capability": ".".join(map(str, device.compute_capability)),
            "n_multiprocessors": device.n_multiprocessors,
            "memory_bytes": device.memory_total,
            "l2_bytes": None if SIMULATED else getattr(cuda.get_current_device(), "L2_CACHE_SIZE", None),
            "driver_cuda": device.driver_version,
            "runtime_cuda": device.runtime_version,
            **_query_smi(),
        },
        "machine": machine(),
        "versions": {**versions(), "numba-cuda": cuda_version()},
    }


def cuda_version() -> str:
    """The version of numba-cuda; the simulator does without."""
    if SIMULATED:
        return "none"
    import numba_cuda

    return str(numba_cuda.__version__)


def _query_smi() -> dict[str, str]:
    """What nvidia-smi says of the device; nothing where it is missing."""
    command = ["nvidia-smi", f"--query-gpu={SMI_FIELDS}", "--format=csv,noheader"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    try:
        done = subprocess.run(
            [*command, f"--id={visible or 0}"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(SMI_FIELDS.split(","), (value.strip() for value in done.stdout.split(",")), strict=False))


class DeviceMemory:
    """Watches the device's free memory while its body runs; `peak`: the most bytes taken beyond those at the start."""

    peak: int | None = None  # unknown on the simulator

    def __enter__(self) -> "DeviceMemory":
        if not SIMULATED:
            self._lowest = self._start = self._free()
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not SIMULATED:
            self._stop.set()
            self._thread.join()
            self._lowest = min(self._lowest, self._free())
            self.peak = self._start - self._lowest

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._lowest = min(self._lowest, self._free())

    def _free(self) -> int:
        return int(cuda.current_context().get_memory_info()[0])
