"""The import directions of the rooms: what lies on one level does not reach sideways or up."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up: a module imports from levels below its own only.
LEVELS = [
    ["_version", "jit"],
    ["versions", "philox", "dynamics", "model", "analysis"],
    ["distributions", "plotting", "tally"],
    ["checks", "neurons"],
    ["connectivity"],
    ["network", "construction", "cpu_kernels"],
    ["layout"],
    ["stimuli"],
    ["memory", "synapses"],
    ["build"],
    ["recorder", "cpu_engine"],
    ["simulation", "reference_networks"],
    ["experiment"],
    ["__main__", "__init__"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
MAY_BE_IMPORTED_BY_IO = {"_version"}
IO_USERS = {"simulation", "__main__", "__init__", "plotting", "analysis"}


def imported(path):
    """Names of evsim's modules imported by a file: `a.b` for evsim.a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "evsim":
            parts = node.module.split(".")[1:]
            names |= {".".join(parts)} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name[6:] for alias in node.names if alias.name.startswith("evsim.")}
    return names


MODULES = sorted((ROOT / "evsim").glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_import_from_below_only(path):
    assert path.stem in LEVEL, f"{path.name} has no level; give it one in this test and in DESIGN"
    for name in imported(path):
        if name.split(".")[0] == "cuda_kernels":
            assert path.stem == "simulation", f"{path.stem} imports {name}"
        elif name.split(".")[0] == "io":
            assert path.stem in IO_USERS, f"{path.stem} imports {name}"
        else:
            assert LEVEL[name] < LEVEL[path.stem], f"{path.stem} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "io").glob("*.py")), ids=lambda path: path.stem)
def test_io_knows_nothing_of_simulations(path):
    assert all(name in MAY_BE_IMPORTED_BY_IO or name.split(".")[0] == "io" for name in imported(path))


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "io").glob("*.py"))], ids=lambda path: path.stem)
def test_numba_cuda_stays_in_its_room(path):
    assert "numba.cuda" not in path.read_text()
    assert "import cuda" not in path.read_text()


def test_no_module_has_the_name_of_a_standard_one():
    names = {path.stem for path in MODULES} - {"__init__", "__main__"}
    assert not names & set(sys.stdlib_module_names)


def test_io_has_no_package_file_that_would_shadow_the_standard_io():
    assert not (ROOT / "io" / "__init__.py").exists()
    for room in ("io", "cuda_kernels"):
        assert (ROOT / "evsim" / room).is_symlink()
