"""What a step of one neuron passes back through its spike and its reset: plain functions for every backend's kernels.

h is the potential before the reset, s the spikes as float32, v what the reset makes of h, and slope = ds/dh
the surrogate's. All may be vectors of `lanes`.
"""

import numpy as np

from evsim.jit import choose, product, register_jitable

f32 = np.float32


@register_jitable(forceinline=True)
def after_reset(h, s, v_reset, spiking, soft):
    """v after the reset and before its lower bound."""
    if not spiking:
        return h
    return h - product(s, v_reset) if soft else choose(s == f32(0.0), h, v_reset)


@register_jitable(forceinline=True)
def through_spike(h, s, slope, ds, dv, v_reset, v_min, spiking, soft, detach):
    """dh = ds * slope + dv * dv/dh, where dv/dh is

        1 - slope * v_reset                    soft reset (detached: without slope)
        (no spike) + slope * (v_reset - h)     hard reset (detached: without slope)

    and 0 where v stands at its lower bound. Of neurons that do not spike, dh = ds + dv: they give h itself.
    """
    goes_on = choose(after_reset(h, s, v_reset, spiking, soft) > v_min, dv, f32(0.0))
    if not spiking:
        return ds + goes_on
    through = choose(detach, f32(0.0), slope)
    if soft:
        keeps = f32(1.0) - product(through, v_reset)
    else:
        keeps = choose(s < f32(1.0), f32(1.0) - s, f32(0.0)) + product(through, v_reset - h)
    return product(ds, slope) + product(goes_on, keeps)
