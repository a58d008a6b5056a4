#!/usr/bin/env bash
# Sets up .venv, then simulates 1 s of a Brunel network (10,000 neurons, 10 million synapses):
# prints rates and the real-time factor, leaves brunel.h5 and its raster picture brunel.png.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[plot]'
.venv/bin/python scripts/brunel.py --time 1000 --out brunel.h5 --overwrite "$@"
.venv/bin/evsim plot brunel.h5 -o brunel.png
