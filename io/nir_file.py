"""NIR graphs in HDF5 files, through the `nir` package, and how evsim discretised them.

/version, /node    as the `nir` package writes them
/evsim             attributes dt (in the unit of the graph's time constants), method, evsim_version

dt and method stand in the graph's metadata as well (`evsim_dt`, `evsim_method`), so that a graph in memory has them.
"""

import os
from pathlib import Path
from typing import Any

import h5py

from evsim._version import __version__
from evsim.io.output import check_output

DT, METHOD = "evsim_dt", "evsim_method"  # keys of a graph's metadata
SUBTRACT, MULTI_SPIKE, V_MIN = "evsim_subtract", "evsim_multi_spike", "evsim_v_min"  # and of a node's


def nir_package() -> Any:
    """The `nir` package.

    Raises
    ------
    ImportError : it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR graphs need the nir package: pip install 'evsim[nir]'") from error
    return nir


def read_nir(path: str | os.PathLike[str]) -> Any:
    """The graph of a file, as nir.NIRGraph; whether its shapes fit is for the reader of the graph to check.

    Raises
    ------
    FileNotFoundError, ValueError : no such file; no NIR file, or a node that cannot be: names file and node.
    """
    nir_package()
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    if not h5py.is_hdf5(source):
        raise ValueError(f"{source}: not a NIR file: it is no HDF5 file")
    from nir.serialization import hdf2dict

    with h5py.File(source, "r") as file:
        if not isinstance(file.get("node"), h5py.Group):
            raise ValueError(f"{source}: not a NIR file: it has no group 'node'")
        tree = hdf2dict(file["node"])
    if tree.get("type") != "NIRGraph":
        raise ValueError(f"{source}: its node has type {tree.get('type')!r}; it must be a NIRGraph")
    return _graph(tree, str(source), "")


def write_nir(graph: Any, path: str | os.PathLike[str], dt: float, method: str, overwrite: bool = False) -> None:
    """Write a graph, and how it was discretised.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError : before anything is written.
    """
    nir = nir_package()
    target = check_output(path, overwrite)
    beside = target.with_name(f".{target.name}.part")
    try:
        nir.write(beside, graph)
        with h5py.File(beside, "r+") as file:
            group = file.create_group("evsim")
            group.attrs["dt"], group.attrs["method"], group.attrs["evsim_version"] = dt, method, __version__
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _graph(tree: dict[str, Any], source: str, prefix: str) -> Any:
    """A graph and all in it; not checked by the package, whose own inference knows square kernels only."""
    nir = nir_package()
    owner = f"graph {prefix[:-1]!r}" if prefix else "the graph"
    for part in ("nodes", "edges"):
        if part not in tree:
            raise ValueError(f"{source}: {owner} has no {part}")
    nodes = {name: _node(value, source, prefix + name) for name, value in tree["nodes"].items()}
    try:
        edges = [(_text(a), _text(b)) for a, b in tree["edges"]]
    except (TypeError, ValueError):
        raise ValueError(f"{source}: edges of {owner} are no pairs of names") from None
    return nir.NIRGraph(nodes, edges, metadata=tree.get("metadata", {}), type_check=False)


def _node(tree: Any, source: str, name: str) -> Any:
    nir = nir_package()
    kind = tree.get("type") if isinstance(tree, dict) else None
    if kind == "NIRGraph":
        return _graph(tree, source, name + ".")
    try:
        return nir.dict2NIRNode(tree)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{source}: node {name!r} of type {kind!r} cannot be: {why or 'NIR has no such type'}"
        ) from error


def _text(name: Any) -> str:
    return name.decode("utf8") if isinstance(name, bytes) else str(name)
