"""Weights that learn, between runs: brought up to date, applied, normalised, read."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.learning import FROZEN, NEVER, W_MAX, W_MIN

SUM_BITS = 40  # a normalised column's weights are summed in units of the largest weight / 2^SUM_BITS


class Learner:
    """What `Simulation` does to plastic projections while no step is under way, by the verbs of an engine."""

    def __init__(self, built: Built, engine: Any) -> None:
        self._engine, self._learning, self._flag = engine, built.learning, built.state.learning
        self._totals: dict[int, bytes] = {}
        self._frozen: list[int] = []  # projections whose changes act at the end of a run
        self._per_unit: list[float] = []  # of each projection, see normalize
        if built.learning:
            rules = built.learning[0][0]
            self._frozen = [int(k) for k in np.flatnonzero(rules.option[:, FROZEN])]
            largest = np.abs(rules.value[:, [W_MIN, W_MAX]]).max(axis=1)
            self._per_unit = [2.0 ** (SUM_BITS - math.ceil(math.log2(w))) for w in largest]
        self._settled = -1  # the step up to which all weights are up to date; -1: not known
        if built.learning:
            self.settle(0)  # compiles, or loads, the kernels

    @property
    def learning(self) -> bool:
        """Whether weights and thresholds change."""
        return bool(self._flag[0])

    def switch(self, on: bool, step: int) -> None:
        """Let weights and thresholds change from `step` on, or not."""
        self.settle(step)
        self._engine.switch_learning(on)

    def settle(self, step: int) -> None:
        """Bring all weights up to date, as they are before `step`."""
        if step != self._settled:
            self._engine.settle(step)
            self._settled = step

    def forget(self) -> None:
        """Weights and traces are not what they were: another state was loaded."""
        self._settled = -1

    def apply(self, step: int) -> None:
        """At the end of a run: let the changes act that rules with apply="run" have kept back."""
        if self._frozen:
            self.settle(step)
            for k in self._frozen:
                self._engine.apply_changes(k)

    def normalize(self, q: int, total: NDArray[np.float64], step: int) -> None:
        """Scale the weights into each target of projection q (its place in Model) to sum to total (n_targets,)."""
        self.settle(step)
        rules = self._learning[0][0]
        k = int(rules.number[q])
        if self._totals.get(k) != total.tobytes():
            self._totals[k] = total.tobytes()
            self._engine.pull_traces()
            self._learning[0][1].touched[rules.target_start[k] : rules.target_start[k + 1]] = 1
            self._engine.push_traces()
        self._engine.normalize(k, total, self._per_unit[k])

    def overwrite(self, q: int, places: NDArray[np.int64], weight: NDArray[np.float32], step: int) -> None:
        """Give synapses of projection q, by their places in Traces.weight, other weights from `step` on."""
        self.settle(step)
        rules, traces = self._learning[0]
        k = int(rules.number[q])
        self._engine.pull_traces(weights=True)
        traces.weight[places] = weight
        traces.touched[rules.target_start[k] : rules.target_start[k + 1]] = 1
        self._engine.push_traces(weights=True)

    def reset(self, step: int) -> None:
        """Forget all traces, and the spikes that are on their way."""
        self.settle(step)
        self._engine.pull_traces()
        for _, traces in self._learning:
            traces.post_last[:] = NEVER
            traces.settled[:] = step
            for array in (traces.pre_count, traces.post_trace, traces.post_count, traces.settled_count):
                array[:] = 0
            traces.active_count[:] = 0
            traces.log_first.reshape(traces.log_count.size, -1)[:] = traces.log_count[:, None]
        self._engine.push_traces()
