#!/usr/bin/env bash
# Make .venv-peers beside this repository's root: the simulators that bench/peers/ measures evsim against.
# Brian2's C++ standalone mode compiles each network, so a C++ compiler with OpenMP is needed (Debian: g++).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v g++ >/dev/null; then
    echo "install_peers: no g++ found; Brian2's C++ standalone mode needs one (Debian: apt-get install g++)" >&2
    exit 1
fi

venv=.venv-peers
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip
"$venv/bin/python" -m pip install --quiet \
    "nest-simulator==3.10.0" "brian2==2.9.*" "numpy<2.4" scipy psutil

"$venv/bin/python" - <<'PY'
from importlib.metadata import version

for name in ("nest-simulator", "brian2", "numpy", "scipy", "psutil", "cython"):
    print(f"{name} {version(name)}")
PY
g++ --version | head -n 1
