"""Rates of Poisson stimuli that change between runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.jit import compile_kernel, register_jitable
from evsim.layout import Layout
from evsim.model import Model
from evsim.network import Network, Poisson
from evsim.stimuli import ordered_poissons, threshold_table

u64 = np.uint64

MOST_CLASSES = 4096  # different rates kept; more, and those no longer in use go


class Rates:
    """The rates in use, each with its row of thresholds in Model."""

    def __init__(self, network: Network, layout: Layout, model: Model) -> None:
        self._dt = network.dt
        self._stimuli = ordered_poissons(network, layout)
        self._start = model.poisson_class_start
        self._class, self._first = model.poisson_class.copy(), model.poisson_first.copy()
        self._keep(np.unique(np.concatenate([np.zeros(1), *(p.rates.ravel() for p in self._stimuli)])))
        self._most = {p.index: float(p.rates.max(initial=0.0)) for p in self._stimuli}

    def change(self, name: str, rate: Any) -> dict[str, NDArray[Any]]:
        """The fields of Model that change with the rate of the stimulus called `name`."""
        number, stimulus = self._find(name)
        n, most = stimulus.rates.shape[1], self._most[stimulus.index]
        first = self._start[number]
        own = self._class[first : first + n], self._first[first : first + n]
        changed = {"poisson_class": self._class, "poisson_first": self._first}
        listed = n > 1 and isinstance(rate, np.ndarray) and rate.dtype == np.float64 and rate.shape == (n,)
        if listed and find_rows(np.ascontiguousarray(rate), most, *self._lookup, *own):
            return changed  # nothing to check: all were used before
        owner = f"set_rate: poisson {name!r}"
        rates = checks.numbers(owner, "rate", rate, (n,) if n > 1 else (), 0.0, unit="Hz")
        if rates.max() > most:
            raise ValueError(
                f"{owner}: rate is {rates.max():g} Hz; it must be at most {most:g} Hz, the largest given to "
                "add_poisson, for which sums of weights were scaled"
            )
        rates = np.full(n, rates)
        if find_rows(rates, most, *self._lookup, *own):
            return changed
        self._learn(rates)
        find_rows(rates, most, *self._lookup, *own)
        return self.present()

    def present(self) -> dict[str, NDArray[Any]]:
        """The fields of Model that hold the rates as they are now."""
        return {**self._table, "poisson_class": self._class, "poisson_first": self._first}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps."""
        return {"rates.values": self._values, "rates.class": self._class}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The fields of Model as they were when `arrays` were kept."""
        self._keep(arrays["rates.values"])
        self._put(arrays["rates.class"])
        return self.present()

    def _find(self, name: str) -> tuple[int, Poisson]:
        found = [(number, p) for number, p in enumerate(self._stimuli) if p.name == name]
        if not found:
            raise checks.nearest("set_rate", "poisson stimulus", name, sorted({p.name for p in self._stimuli}))
        number, stimulus = found[0]
        if len(found) > 1 or len(stimulus.rates) > 1:
            raise ValueError(
                f"set_rate: poisson {name!r} has {len(found)} targets and {len(stimulus.rates)} intervals; it must "
                "have one of each: give every target a stimulus of its own name, and no times"
            )
        return number, stimulus

    def _keep(self, values: NDArray[np.float64]) -> None:
        """Use rows for these rates from now on."""
        self._values, self._table = values, threshold_table(values, self._dt)
        order = np.argsort(values)
        self._lookup = values[order], order.astype(np.uint32), self._table["poisson_threshold"][order, 0]

    def _put(self, rows: NDArray[Any]) -> None:
        """Use these rows from now on."""
        self._class[:] = rows
        self._first[:] = self._table["poisson_threshold"][self._class, 0]

    def _learn(self, rates: NDArray[np.float64]) -> None:
        """Rows for rates of which not all were met before, after those that are kept."""
        new = np.setdiff1d(rates, self._values)
        if self._values.size + new.size > MOST_CLASSES:
            used, rows = np.unique(self._class, return_inverse=True)
            self._keep(self._values[used])
            self._put(rows)
            new = np.setdiff1d(rates, self._values)
        self._keep(np.concatenate([self._values, new]))


@compile_kernel
def find_rows(rates, most, values, rows, thresholds, row, threshold):  # type: ignore[no-untyped-def]
    """Whether all rates are at most `most` and among `values`, which ascend.

    Then each one's row, and the first threshold of that.
    """
    known = True
    for i in range(u64(rates.size)):
        at = _last_up_to(values, rates[i])
        known = known and values[at] == rates[i] and rates[i] <= most
    if known:
        for i in range(u64(rates.size)):
            at = _last_up_to(values, rates[i])
            row[i], threshold[i] = rows[at], thresholds[at]
    return known


@register_jitable
def _last_up_to(values, value):  # type: ignore[no-untyped-def]
    at, n = u64(0), u64(values.size)
    while n > u64(1):
        half = n >> u64(1)
        at = at + half if values[at + half] <= value else at
        n -= half
    return at
