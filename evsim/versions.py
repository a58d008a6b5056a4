"""Versions that decide speed and results."""

import platform

import h5py
import numba
import numpy as np

from evsim._version import __version__


def versions() -> dict[str, str]:
    """evsim's own version, Python's, and those of the packages that compile, calculate and store."""
    return {
        "evsim": __version__,
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "h5py": h5py.__version__,
    }
