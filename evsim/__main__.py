"""The command line: `evsim info | run | plot | repair | nir`."""

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from evsim.backend import reason_against_gpu
from evsim.experiment import run_experiment
from evsim.io.recording import open_recording
from evsim.io.repair import repair_recording
from evsim.jit import CACHE_FOLDER
from evsim.nir_command import add_nir_options
from evsim.plotting import plot_raster
from evsim.versions import versions

EXPERIMENTS = ("brunel", "microcircuit")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        options.do(options)
    except (OSError, ValueError, KeyError, ImportError, MemoryError, RuntimeError) as error:
        if options.command == "run" and options.what not in EXPERIMENTS and Path(options.what).is_file():
            raise  # the user's own script: its traceback helps
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"evsim {options.command}: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"evsim {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evsim", description="An event-driven simulator of spiking networks.")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="versions, cores, GPUs, the backend chosen")
    info.set_defaults(do=_info)
    run = commands.add_parser("run", help="run brunel, microcircuit or a script")
    run.add_argument("what", metavar="brunel|microcircuit|FILE.py")
    run.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its own options; --help lists them")
    run.set_defaults(do=_run)
    plot = commands.add_parser("plot", help="raster and population rates of a recording")
    plot.add_argument("file", type=Path, metavar="FILE.h5")
    plot.add_argument("-o", "--out", type=Path, required=True, help="picture: .png, .pdf, .svg")
    plot.add_argument("--start", type=float, help="ms")
    plot.add_argument("--stop", type=float, help="ms")
    plot.set_defaults(do=_plot)
    repair = commands.add_parser("repair", help="make the recording of a killed run readable by any program")
    repair.add_argument("file", type=Path, metavar="FILE.h5")
    repair.set_defaults(do=_repair)
    add_nir_options(commands.add_parser("nir", help="look at a NIR file, or run it"))
    return parser


def _info(_options: argparse.Namespace) -> None:
    for name, version in versions().items():
        print(f"{name:<12}{version}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{'cores':<12}{cores}")
    for gpu in _gpus():
        print(f"{'GPU':<12}{gpu}")
    reason = reason_against_gpu()
    taken = f"cpu (what 'auto' takes: {reason})" if reason else "cuda (what 'auto' takes for networks that fit)"
    print(f"{'backend':<12}{taken}")
    print(f"{'kernels':<12}{CACHE_FOLDER}")


def _gpus() -> list[str]:
    """The visible GPUs, the one that is used first; or why there is none."""
    try:
        from evsim.cuda_kernels.target import list_devices

        return [str(device) for device in list_devices()]
    except (ImportError, RuntimeError) as error:
        return [str(error)]


def _run(options: argparse.Namespace) -> None:
    if options.what in EXPERIMENTS:
        run_experiment(options.what, options.rest)
        return
    if not Path(options.what).is_file():
        raise FileNotFoundError(f"no file {options.what!r}, and not one of {', '.join(EXPERIMENTS)}")
    sys.argv = [options.what, *options.rest]
    sys.path.insert(0, str(Path(options.what).absolute().parent))  # as `python FILE.py` does
    runpy.run_path(options.what, run_name="__main__")


def _plot(options: argparse.Namespace) -> None:
    with open_recording(options.file) as recording:
        figure, _ = plot_raster(recording, start=options.start, stop=options.stop)
    figure.savefig(options.out)
    print(f"drawn to {options.out}")


def _repair(options: argparse.Namespace) -> None:
    print(repair_recording(options.file))


if __name__ == "__main__":
    sys.exit(main())
