"""What a step of one neuron passes back through its spike and its reset: plain functions for every backend's kernels.

h is the potential before the reset, s the spikes, v what the reset makes of h, slope = ds/dh (the surrogate's).
"""

import numpy as np

from evsim.jit import product, register_jitable

f32 = np.float32


@register_jitable(forceinline=True)
def after_reset(h, s, v_reset, spiking, soft):
    """v after the reset and before its lower bound."""
    v = h
    if spiking:
        v = h - product(s, v_reset) if soft else (h if s == f32(0.0) else v_reset)
    return v


@register_jitable(forceinline=True)
def through_spike(h, s, slope, ds, dv, v_reset, v_min, spiking, soft, detach):
    """dh = ds * slope + dv * dv/dh, where dv/dh is

        1 - slope * v_reset                    soft reset (detached: without slope)
        (no spike) + slope * (v_reset - h)     hard reset (detached: without slope)

    and 0 where v stands at its lower bound. Of neurons that do not spike, dh = ds + dv: they give h itself.
    """
    through = f32(0.0) if detach else slope
    if not spiking:
        keeps = f32(1.0)
    elif soft:
        keeps = f32(1.0) - product(through, v_reset)
    else:
        keeps = f32(1.0) - s if s < f32(1.0) else f32(0.0)
        keeps += product(through, v_reset - h)
    goes_on = dv if after_reset(h, s, v_reset, spiking, soft) > v_min else f32(0.0)
    return (product(ds, slope) if spiking else ds) + product(goes_on, keeps)
