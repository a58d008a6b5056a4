#!/usr/bin/env bash
# Make .venv-peers, .venv-peers-torch and .venv-peers-layers beside this repository's root: the simulators that
# bench/peers/ measures evsim against and that make the golden data in tests/data/. NEST and Brian2 are in the first,
# SpikingJelly 0.0.0.0.14 and BindsNET (for STDP) in the second, since they want PyTorch (BindsNET 0.3.4: Python 3.11 to
# 3.13), SpikingJelly 2, sinabs and snnTorch (for layered networks; Python 3.11 on) in the third.
# Brian2's C++ standalone mode compiles each network, so a C++ compiler with OpenMP is needed (Debian: g++).
# Only the CPU is used: PyTorch's wheels for the CPU, where pip is told of them, save 5 GB of CUDA libraries.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v g++ >/dev/null; then
    echo "install_peers: no g++ found; Brian2's C++ standalone mode needs one (Debian: apt-get install g++)" >&2
    exit 1
fi

make_venv() { # folder, packages
    local venv=$1
    shift
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade pip
    "$venv/bin/python" -m pip install --quiet "$@"
    "$venv/bin/python" -m pip check
}

print_versions() { # folder, distributions
    "$1/bin/python" - "${@:2}" <<'PY'
import sys
from importlib.metadata import version

for name in sys.argv[1:]:
    print(f"{name} {version(name)}")
PY
}

make_venv .venv-peers "nest-simulator==3.10.0" "brian2==2.9.*" "numpy<2.4" scipy psutil
make_venv .venv-peers-torch "torch==2.14.*" "spikingjelly==0.0.0.0.14" "bindsnet==0.3.4" tensorboard "numpy<2.5"

make_venv .venv-peers-layers "torch==2.14.*" "spikingjelly==2.0.0" "sinabs==3.1.3" "snntorch==1.0.0" scipy "numpy<2.5"

print_versions .venv-peers nest-simulator brian2 numpy scipy psutil cython
print_versions .venv-peers-torch torch spikingjelly bindsnet numpy
print_versions .venv-peers-layers torch spikingjelly sinabs snntorch scipy numpy
g++ --version | head -n 1
