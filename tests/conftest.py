"""Where CI is set, hypothesis draws the same examples each time; elsewhere it keeps looking for new ones.

GPUs are hidden from all tests but the GPU's own (`-m gpu`), so that "auto" is the CPU in them on every machine.
"""

import os

try:
    from hypothesis import settings
except ImportError:  # the GPU's tests do without
    settings = None

if settings is not None:
    settings.register_profile("repeatable", derandomize=True)
    if os.environ.get("CI"):
        settings.load_profile("repeatable")


def pytest_configure(config):
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
