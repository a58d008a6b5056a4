"""Where CI is set, hypothesis draws the same examples each time; elsewhere it keeps looking for new ones."""

import os

try:
    from hypothesis import settings
except ImportError:  # the GPU's tests do without
    settings = None

if settings is not None:
    settings.register_profile("repeatable", derandomize=True)
    if os.environ.get("CI"):
        settings.load_profile("repeatable")
