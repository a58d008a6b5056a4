"""Where CI is set, hypothesis draws the same examples each time; elsewhere it keeps looking for new ones."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
