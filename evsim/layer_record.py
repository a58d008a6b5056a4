"""What a layer of a `Sequential` did: recorded in memory, or streamed to a file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evsim.io.layer_file import append_frames, read_frames

F4 = NDArray[np.float32]


class LayerRecord:
    """Variables of one layer, each an attribute (T, B, ...) float32: all calls one after another.

    Attributes
    ----------
    layer : index of the layer.
    name : its name in a file.
    variables : what is recorded.
    """

    def __init__(self, layer: int, name: str, variables: tuple[str, ...], file: Path | None) -> None:
        self.layer = layer
        self.name = name
        self.variables = variables
        self.file = file
        self._frames: dict[str, list[F4]] = {variable: [] for variable in variables}
        self._shape: tuple[int, ...] | None = None  # of a frame

    def expect(self, shape: tuple[int, ...]) -> None:
        """Refuse frames (B, ...) of another shape than those before."""
        if self._shape not in (None, shape):
            instead = "clear() it first" if self.file is None else "record other batches in a file of their own"
            raise ValueError(f"{self!r}: its frames have shape {self._shape}, the next have {shape}; {instead}")
        self._shape = shape

    def append(self, variable: str, frames: F4) -> None:
        """Take in the frames (T, B, ...) of a call."""
        if self.file is None:
            self._frames[variable].append(frames)
        else:
            append_frames(self.file, self.name, variable, frames)

    def clear(self) -> None:
        """Forget what was recorded in memory so far."""
        if self.file is None:
            self._shape = None
        for frames in self._frames.values():
            frames.clear()

    def __getattr__(self, variable: str) -> F4:
        if variable not in self.__dict__.get("variables", ()):
            raise AttributeError(f"record of {self.__dict__.get('name')}: {variable!r} is not recorded")
        if self._shape is None:
            raise ValueError(f"record of {self.name}: nothing is recorded yet; call the network")
        if self.file is not None:
            return read_frames(self.file, self.name, variable)
        return np.concatenate(self._frames[variable])

    def __repr__(self) -> str:
        return f"<record of {self.name}: {', '.join(self.variables)}>"
