"""From the start of a script to its first step: with nothing compiled yet, and every later time.

The script is the README's Brunel network with 1,000 neurons. Goal: a second start reaches its first step within 2 s.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import ROOT, finish, parser

from evsim.versions import versions

SCRIPT = """
import evsim
from evsim.reference_networks import brunel
simulation = evsim.Simulation(brunel(1000), backend="cpu", threads={threads})
simulation.run(0.1)
"""


def start(threads: int, environment: dict[str, str]) -> float:
    """Seconds from starting Python to the end of the first step."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", SCRIPT.format(threads=threads)], cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - started


def main() -> None:
    given = parser(__doc__ or "", repeat=9).parse_args()
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "EVSIM_CACHE_DIR": empty}
        first = start(given.threads, environment)
        later = [start(given.threads, environment) for _ in range(given.repeat)]
    result = {"benchmark": "startup", "first_start_s": first, "second_start_s": statistics.median(later)}
    finish({**result, "threads": given.threads, "versions": versions()}, given.out)


if __name__ == "__main__":
    main()
