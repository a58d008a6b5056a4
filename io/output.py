"""What every written file goes through first: the path is free, the folder is there, the disk has room."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Refuse an output path that could not be written, before anything is computed.

    Parameters
    ----------
    path
        File to be written.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    FileNotFoundError, NotADirectoryError : the folder is missing, or is not a folder.
    FileExistsError : the file is there and `overwrite` is False.
    IsADirectoryError : the path is a folder.
    PermissionError : the folder, or the file to be replaced, is not writable.
    """
    target = Path(path).absolute()
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "output is a folder; give the name of a file in it", str(target))
    if not folder.is_dir():
        blocker = next(part for part in folder.parents if part.exists()) if not folder.exists() else folder
        if not blocker.is_dir():
            raise NotADirectoryError(
                errno.ENOTDIR,
                f"output folder cannot exist: '{blocker}' is a file; choose another path",
                str(target),
            )
        raise FileNotFoundError(errno.ENOENT, "output folder does not exist; create it first", str(folder))
    if target.exists():
        if not overwrite:
            raise FileExistsError(
                errno.EEXIST,
                "output exists; pass overwrite=True to replace it, or choose another path",
                str(target),
            )
        if not os.access(target, os.W_OK):
            raise PermissionError(
                errno.EACCES, "output exists and is not writable; change its permissions", str(target)
            )
    elif not os.access(folder, os.W_OK):
        raise PermissionError(
            errno.EACCES,
            "output folder is not writable; choose another or change its permissions",
            str(folder),
        )
    return target


def require_free(path: Path, n_bytes: int, kept: str = "") -> None:
    """Refuse to go on when the disk under `path` has fewer than `n_bytes` free.

    Parameters
    ----------
    path
        The file about to grow.
    n_bytes
        Bytes about to be written.
    kept
        What the message should say is safe.

    Raises
    ------
    OSError : ENOSPC, naming the path, the bytes needed and the bytes free.
    """
    free = shutil.disk_usage(path.parent).free
    if free < n_bytes:
        raise OSError(
            errno.ENOSPC,
            f"disk full: {n_bytes:,} bytes needed, {free:,} free; {kept}free some space or choose another disk",
            str(path),
        )
