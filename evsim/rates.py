"""Rates of Poisson stimuli that change between runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.layout import Layout
from evsim.model import Model
from evsim.network import Network, Poisson
from evsim.stimuli import ordered_poissons, threshold_table

MOST_CLASSES = 4096  # different rates kept; more, and those no longer in use go


class Rates:
    """The rates in use, each with its row of thresholds in Model."""

    def __init__(self, network: Network, layout: Layout, model: Model) -> None:
        self._dt = network.dt
        self._stimuli = ordered_poissons(network, layout)
        self._start, self._class = model.poisson_class_start, model.poisson_class
        self._keep(np.unique(np.concatenate([np.zeros(1), *(p.rates.ravel() for p in self._stimuli)])))
        self._most = {p.index: float(p.rates.max(initial=0.0)) for p in self._stimuli}

    def change(self, name: str, rate: Any) -> dict[str, NDArray[Any]]:
        """The fields of Model that change with the rate of the stimulus called `name`."""
        number, stimulus = self._find(name)
        owner = f"set_rate: poisson {name!r}"
        n = stimulus.rates.shape[1]
        rates = checks.numbers(owner, "rate", rate, (n,) if n > 1 else (), 0.0, unit="Hz")
        most = self._most[stimulus.index]
        if rates.max() > most:
            raise ValueError(
                f"{owner}: rate is {rates.max():g} Hz; it must be at most {most:g} Hz, the largest given to "
                "add_poisson, for which sums of weights were scaled"
            )
        rates = np.atleast_1d(rates)
        rows, known = self._rows(rates)
        if not known.all():
            self._learn(rates)
            rows, _ = self._rows(rates)
        self._class = self._class.copy()
        first = self._start[number]
        self._class[first : first + n] = rows
        return self.present()

    def present(self) -> dict[str, NDArray[Any]]:
        """The fields of Model that hold the rates as they are now."""
        first = self._table["poisson_threshold"][self._class, 0]
        return {**self._table, "poisson_class": self._class, "poisson_first": first}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps."""
        return {"rates.values": self._values, "rates.class": self._class}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The fields of Model as they were when `arrays` were kept."""
        self._keep(arrays["rates.values"])
        self._class = arrays["rates.class"]
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

    def _rows(self, rates: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The row of each rate, and whether it is one of that rate."""
        place = np.minimum(np.searchsorted(self._sorted, rates), self._sorted.size - 1)
        return self._order[place], self._sorted[place] == rates

    def _keep(self, values: NDArray[np.float64]) -> None:
        """Use rows for these rates from now on."""
        self._values, self._order = values, np.argsort(values)
        self._sorted = values[self._order]
        self._table = threshold_table(values, self._dt)

    def _learn(self, rates: NDArray[np.float64]) -> None:
        """Rows for rates of which not all were met before, after those that are kept."""
        new = np.setdiff1d(rates, self._values)
        if self._values.size + new.size > MOST_CLASSES:
            used, rows = np.unique(self._class, return_inverse=True)
            self._values, self._class = self._values[used], rows.astype(np.uint32)
            new = np.setdiff1d(rates, self._values)
        self._keep(np.concatenate([self._values, new]))
