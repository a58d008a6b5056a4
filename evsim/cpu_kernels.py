"""The CPU engine: each thread advances its own neurons through a window, then takes in the spikes of all.

A window is as many steps as the shortest delay, so no spike of a window arrives within it: threads meet once a
window. A thread adds spikes to its own targets only (rows are stored per source and thread), so there are no
atomics, and fixed-point sums make the order of spikes irrelevant.

Where some delays are 0 a window is one step, in stages: the populations of a stage are updated, threads meet, and
what arrives in the same step is delivered before the next stage; all else after the last one.
"""

import numpy as np

from evsim.arrival_kernels import arrive, fetch_row
from evsim.dynamics import (
    MAX_SPIKES,
    adapted,
    count_spikes,
    decay_current,
    decay_theta,
    fire,
    integrate,
    receive,
    reset,
)
from evsim.jit import atomic_add, atomic_load, compile_kernel, disjoint, register_jitable, yield_core
from evsim.lanes import MASK, trailing_zeros
from evsim.learning_kernels import note_posts, note_sources, note_step
from evsim.model import (
    COUPLING,
    DECAY,
    DRIVE,
    GAIN,
    JUMP,
    LEAK,
    N_STAGES,
    N_THREADS,
    REFRACTORY_STEPS,
    RING_MASK,
    TARGET_BITS,
    V_MIN,
    V_RESET,
    V_THRESHOLD,
    WINDOW,
)
from evsim.poisson_kernels import add_poissons, emit_poisson, interval, note_lit, spiking_of
from evsim.tally import spike_hash

f32 = np.float32
u8 = np.uint8
i32 = np.int32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

# Indices are uint64 throughout: a signed index costs a test for negative values and stops loops from vectorising.


@register_jitable
def _meet(barrier, n_threads):
    """Wait until all threads have come here; one counter that only grows."""
    if n_threads == u64(1):
        return
    arrived = atomic_add(barrier, u64(0), u64(1))
    goal = (arrived // n_threads + u64(1)) * n_threads
    spins = 0
    while atomic_load(barrier, u64(0)) < goal:
        spins += 1
        if spins > 2000:
            yield_core()


@register_jitable
def _take_input(ring, at, n, x):
    """Move a block's arrived input out of the ring."""
    disjoint()
    for i in range(n):
        x[i] = ring[at + i]
        ring[at + i] = 0


@register_jitable
def _start_drive(drive, n, value, at_drive):
    disjoint()
    for i in range(n):
        drive[i] = value[at_drive + i]


@register_jitable
def _take_delta(ring, at, value, at_drive, at_jump, n, unit, drive):
    """All of the next two at once, for neurons with one delta receptor that only spikes arrive at."""
    disjoint()
    for i in range(n):
        x = f32(ring[at + i]) * unit
        ring[at + i] = 0
        drive[i] = receive(value[at_drive + i], f32(0.0), x, f32(0.0), value[at_jump + i])


@register_jitable
def _receive_delta(drive, x, n, unit, jump, at_jump):
    disjoint()
    for i in range(n):
        drive[i] = receive(drive[i], f32(0.0), f32(x[i]) * unit, f32(0.0), jump[at_jump + i])


@register_jitable
def _receive_current(drive, x, n, unit, current, at, value, at_coupling, at_jump):
    disjoint()
    for i in range(n):
        drive[i] = receive(drive[i], current[at + i], f32(x[i]) * unit, value[at_coupling + i], value[at_jump + i])


@register_jitable
def _decay(x, n, unit, current, at, value, at_decay, at_gain):
    disjoint()
    for i in range(n):
        current[at + i] = decay_current(current[at + i], f32(x[i]) * unit, value[at_decay + i], value[at_gain + i])


@register_jitable
def _fire(v, at, drive, n, refractory, fired, value, at_leak, at_v_min, threshold, at_threshold):
    """Integrate, note who spikes, count the refractory time down; drive becomes v before the reset."""
    disjoint()
    for i in range(n):
        left = refractory[at + i]
        v_pre = integrate(v[at + i], drive[i], value[at_leak + i], value[at_v_min + i], left)
        fired[i] = u8(fire(v_pre, threshold[at_threshold + i], left))
        refractory[at + i] = max(left - i32(1), i32(0))
        v[at + i] = drive[i] = v_pre


@register_jitable
def _fire_adapted(
    v, at, drive, n, refractory, fired, value, at_leak, at_v_min, at_threshold, theta, decay, threshold
):  # fmt: skip
    """The same where thresholds adapt: they decay first, and `threshold` becomes what they now are."""
    disjoint()
    for i in range(n):
        left = refractory[at + i]
        v_pre = integrate(v[at + i], drive[i], value[at_leak + i], value[at_v_min + i], left)
        theta[at + i] = decay_theta(theta[at + i], decay)
        threshold[i] = adapted(value[at_threshold + i], theta[at + i])
        fired[i] = u8(fire(v_pre, threshold[i], left))
        refractory[at + i] = max(left - i32(1), i32(0))
        v[at + i] = drive[i] = v_pre


@register_jitable
def _fire_often(v, at, drive, n, refractory, fired, value, at_leak, at_v_min, threshold, at_threshold):
    """The same for multi-spike neurons, noting how many spikes each has; returns the largest number."""
    disjoint()
    most = i32(0)
    for i in range(n):
        left = refractory[at + i]
        v_pre = integrate(v[at + i], drive[i], value[at_leak + i], value[at_v_min + i], left)
        spikes = count_spikes(v_pre, threshold[at_threshold + i], left)
        most = max(most, spikes)
        fired[i] = u8(min(spikes, i32(MAX_SPIKES)))
        refractory[at + i] = max(left - i32(1), i32(0))
        v[at + i] = drive[i] = v_pre
    return most


@register_jitable(forceinline=True)
def _has_fired(fired, n):
    """Whether any neuron of a block has."""
    any_of = u64(0)
    for first in range(u64(0), n, u64(MASK)):
        any_of |= spiking_of(fired, first, n)
    return any_of != u64(0)


@register_jitable
def _raise_thresholds(theta, at, n, fired, plus):
    disjoint()
    for i in range(n):
        if fired[i] != u8(0):
            theta[at + i] += plus


@register_jitable
def _choose_winner(
    v, at, v_pre, n, refractory, fired, threshold, at_threshold, amount, at_amount, value, at_refractory, soft
):  # fmt: skip
    """Of the neurons that fired only the one furthest above threshold (the first of equal ones) does; all reset."""
    best, winner = f32(0.0), n
    for i in range(n):
        if fired[i] != u8(0) and (winner == n or v_pre[i] - threshold[at_threshold + i] > best):
            best, winner = v_pre[i] - threshold[at_threshold + i], i
    for i in range(n):
        if fired[i] != u8(0) and i != winner:
            fired[i] = u8(0)
            v[at + i] = reset(v[at + i], amount[at_amount + i], soft, i32(1))
            refractory[at + i] = i32(value[at_refractory + i])


@register_jitable
def _emit(
    v,
    refractory,
    at,
    n,
    fired,
    amount,
    at_amount,
    value,
    at_refractory,
    soft,
    spikes,
    w,
    count,
    step,
    p,
    start,
    checksum,
    neuron_spikes,
):
    """Reset the neurons that fired, to or by `amount`, and append each spike to spikes[w]; (new count, checksum)."""
    for first in range(u64(0), n, u64(MASK)):
        spiking = spiking_of(fired, first, n)
        while spiking != u64(0):
            i = first + trailing_zeros(spiking)
            spiking &= spiking - u64(1)
            neuron, n_spikes = at + i, i32(fired[i])
            v[neuron] = reset(v[neuron], amount[at_amount + i], soft, n_spikes)
            refractory[neuron] = i32(value[at_refractory + i])
            for _ in range(n_spikes):
                spikes[w, u64(count)] = u32(neuron)
                count += 1
            neuron_spikes[neuron] += n_spikes
            checksum += spike_hash(step, neuron - start, p) * u64(n_spikes)
    return count, checksum


@compile_kernel
def _record_block(model, state, p, first, stop, step, frame_step, v_pre, input_size):
    """Write this block's part of the frames that are due at `step`."""
    for probe in range(model.probe_population.size):
        if model.probe_population[probe] != p or step % model.probe_every[probe] != 0:
            continue
        start, end = model.probe_start[probe], model.probe_start[probe + 1]
        frame = (
            step // model.probe_every[probe] - (frame_step + model.probe_every[probe] - 1) // model.probe_every[probe]
        )
        row = state.frame_start[probe] + frame * (end - start)
        variable = model.probe_variable[probe]
        at = start + interval(model.probe_neuron, start, end, first - 1) + 1
        while at < end and model.probe_neuron[at] < stop:
            i = model.probe_neuron[at]
            if variable == -1:
                x = state.neuron_v[model.population_start[p] + i]
            elif variable == -2:
                x = v_pre[i - first]
            else:
                x = state.input_current[model.population_input[p] + variable * input_size + i]
            state.frame_value[row + at - start] = x
            at += 1


@register_jitable
def _add_current(drive, first, n, value, at, stride):
    disjoint()
    for i in range(n):
        drive[first + i] += value[at + stride * i]


@register_jitable(forceinline=True)
def _add_currents(model, p, first, stop, step, drive):
    """Add what the injected currents give neurons [first, stop) of population p in this step."""
    for c in range(model.current_start[p], model.current_start[p + 1]):
        row = interval(model.current_change_step, model.current_change[c], model.current_change[c + 1], step)
        a, b = max(first, model.current_range[c, 0]), min(stop, model.current_range[c, 1])
        if row < 0 or a >= b:
            continue
        stride = u64(model.current_value_step[c, 1])
        at = model.current_value_start[c] + row * model.current_value_step[c, 0]
        at += model.current_value_step[c, 1] * (a - model.current_range[c, 0])
        _add_current(drive, u64(a - first), u64(b - a), model.current_value, u64(at), stride)


@register_jitable
def _is_probed(model, p):
    probed = False
    for probe in range(model.probe_population.size):
        probed = probed or model.probe_population[probe] == p
    return probed


@register_jitable(forceinline=True)
def _update_block(model, state, scratch, p, first, stop, first_step, n_steps, chunk_start, counts, spikes, checksum):
    """Advance neurons [first, stop) of population p through n_steps; returns the checksum of their spikes."""
    x, drive, word, fired, _, adapted_threshold, excess = scratch
    v, refractory, current, ring = state.neuron_v, state.neuron_refractory, state.input_current, state.ring
    value, unit = model.parameter_value, model.input_unit[p]
    start, stride = model.parameter_start[p], model.parameter_step[p]
    at_leak = u64(start[LEAK] + stride[LEAK] * first)
    at_drive = u64(start[DRIVE] + stride[DRIVE] * first)
    at_v_min = u64(start[V_MIN] + stride[V_MIN] * first)
    at_threshold = u64(start[V_THRESHOLD] + stride[V_THRESHOLD] * first)
    at_reset = u64(start[V_RESET] + stride[V_RESET] * first)
    at_refractory = u64(start[REFRACTORY_STEPS] + stride[REFRACTORY_STEPS] * first)
    soft = model.population_soft_reset[p] == 1
    theta_plus, theta_decay = model.population_theta[p, 0], model.population_theta[p, 1]
    amount, at_amount = value, at_reset
    if model.population_theta[p, 2] != 0.0:  # v is lowered by the threshold as it now is
        amount, at_amount = adapted_threshold, u64(0)
    learning = state.learning[0] == 1
    population_start = u64(model.population_start[p])
    input_size = ((model.population_size[p] + 127) >> 7) << 7
    first_input = model.population_input[p] + first
    n_receptors = model.population_n_receptors[p]
    target_bits, ring_mask = u64(model.scalars[TARGET_BITS]), u64(model.scalars[RING_MASK])
    has_currents = model.current_start[p + 1] > model.current_start[p]
    has_poissons = model.poisson_start[p + 1] > model.poisson_start[p]
    only_delta = n_receptors == 1 and start[DECAY] < 0 and not has_poissons and not has_currents
    has_probes = _is_probed(model, p)
    n = u64(stop - first)
    neuron = population_start + u64(first)
    for w in range(u64(n_steps)):
        step = first_step + i64(w)
        slot = (u64(step) << target_bits) & ring_mask
        if only_delta:
            at_jump = u64(start[JUMP] + stride[JUMP] * first)
            _take_delta(ring, slot + u64(first_input), value, at_drive, at_jump, n, unit[0], drive)
        else:
            _start_drive(drive, n, value, at_drive)
        if has_currents:
            _add_currents(model, p, first, stop, step, drive)
        for k in range(0 if only_delta else n_receptors):
            at = u64(first_input + k * input_size)
            _take_input(ring, slot + at, n, x)
            if has_poissons:
                add_poissons(model, p, k, first, stop, step, word, x)
            j = 4 * k
            at_jump = u64(start[JUMP + j] + stride[JUMP + j] * first)
            if start[DECAY + j] < 0:  # a delta synapse
                _receive_delta(drive, x, n, unit[k], value, at_jump)
            else:
                at_coupling = u64(start[COUPLING + j] + stride[COUPLING + j] * first)
                at_gain = u64(start[GAIN + j] + stride[GAIN + j] * first)
                at_decay = u64(start[DECAY + j] + stride[DECAY + j] * first)
                _receive_current(drive, x, n, unit[k], current, at, value, at_coupling, at_jump)
                _decay(x, n, unit[k], current, at, value, at_decay, at_gain)
        threshold, at_own = value, at_threshold
        if theta_plus != 0.0:
            decay = theta_decay if learning else 1.0
            _fire_adapted(
                v, neuron, drive, n, refractory, fired, value, at_leak, at_v_min, at_threshold,
                state.neuron_theta, decay, adapted_threshold,
            )  # fmt: skip
            threshold, at_own = adapted_threshold, u64(0)
        elif model.population_multi_spike[p] == 0:
            _fire(v, neuron, drive, n, refractory, fired, value, at_leak, at_v_min, threshold, at_own)
        else:
            most = _fire_often(v, neuron, drive, n, refractory, fired, value, at_leak, at_v_min, threshold, at_own)
            if most > i32(MAX_SPIKES):
                excess[0] = min(excess[0], step * model.population_size.size + p)
        if _has_fired(fired, n):
            if model.population_one_winner[p] == 1:
                _choose_winner(
                    v, neuron, drive, n, refractory, fired, threshold, at_own, amount, at_amount, value,
                    at_refractory, soft,
                )  # fmt: skip
            if theta_plus != 0.0 and learning:
                _raise_thresholds(state.neuron_theta, neuron, n, fired, theta_plus)
            counts[w], checksum = _emit(
                v, refractory, neuron, n, fired, amount, at_amount, value, at_refractory, soft, spikes,
                w, counts[w], u64(step), u64(p), population_start, checksum, state.neuron_spikes,
            )  # fmt: skip
        if has_probes:
            _record_block(model, state, p, first, stop, step, chunk_start, drive, input_size)
    return checksum


@compile_kernel
def _emit_trains(model, state, p, first_step, n_steps, counts, spikes, checksum):
    """Append the explicit spikes of source population p."""
    at = (
        model.train_start[p]
        + interval(model.train_step, model.train_start[p], model.train_start[p + 1], first_step - 1)
        + 1
    )
    while at < model.train_start[p + 1] and model.train_step[at] < first_step + n_steps:
        w = model.train_step[at] - first_step
        spikes[w, counts[w]] = model.train_neuron[at]
        counts[w] += 1
        state.neuron_spikes[model.train_neuron[at]] += 1
        checksum += spike_hash(
            u64(model.train_step[at]), u64(model.train_neuron[at]) - u64(model.population_start[p]), u64(p)
        )
        at += 1
    return checksum


@register_jitable(forceinline=True)
def _record_spikes(model, state, thread, first, n_steps, counts, spikes, used):
    """Append this thread's recorded spikes of the window, steps [first, first + n_steps) of the chunk.

    Returns how many the buffer now holds.
    """
    for w in range(u64(n_steps)):
        before = used
        for j in range(u64(counts[w])):
            neuron = u64(spikes[w, j])
            if model.neuron_recorded[neuron]:
                state.record_neuron[thread, used] = u32(neuron)
                used += u64(1)
        state.record_per_step[thread, u64(first) + w] = i64(used - before)
    return used


@register_jitable
def _add_run(model, ring, q, place, n, weight_at):
    """Add the weights of a run, whose n targets follow one another, to the ring from `place` on."""
    if model.projection_uniform[q]:
        w = model.projection_fixed_weight[q]
        for i in range(n):
            ring[place + i] += w
    elif ring.itemsize == 4:
        for i in range(n):
            ring[place + i] += model.synapse_weight[weight_at + i]
    else:
        scale = i64(1) << model.projection_shift[q]
        for i in range(n):
            ring[place + i] += i64(model.synapse_weight[weight_at + i]) * scale


@register_jitable
def _deliver_rows(model, ring, n_rows, row_start, row_stop, row_base, row_weight, row_projection):
    """Add the weights of n_rows rows to the ring. Row r is synapses [row_start[r], row_stop[r]) of a projection,
    row_base[r] what is added to them: the step of its spike, shifted to where a synapse has its delay, and the place
    from which a shared row counts; row_weight[r] is what is added to find the weights."""
    ring_mask = u64(model.scalars[RING_MASK])
    synapse, weight = model.synapse, model.synapse_weight
    uniform, one_weight, row_step = model.projection_uniform, model.projection_fixed_weight, model.projection_row_step
    for r in range(n_rows):
        ahead = r + u64(2)
        if ahead < n_rows:
            q = row_projection[ahead]
            fetch_row(synapse, weight, row_start[ahead], row_stop[ahead], uniform[q], row_weight[ahead])
        q, base, at = row_projection[r], row_base[r], row_weight[r]
        if row_step[q] == 0:
            if row_start[r] < row_stop[r]:
                place = (u64(synapse[row_start[r]]) + base) & ring_mask
                _add_run(model, ring, q, place, row_stop[r] - row_start[r], at + row_start[r])
        elif uniform[q]:
            w = one_weight[q]
            for s in range(row_start[r], row_stop[r]):
                ring[(u64(synapse[s]) + base) & ring_mask] += w
        else:
            if ring.itemsize == 4:
                for s in range(row_start[r], row_stop[r]):
                    ring[(u64(synapse[s]) + base) & ring_mask] += weight[s + at]
            else:
                scale = i64(1) << model.projection_shift[q]
                for s in range(row_start[r], row_stop[r]):
                    ring[(u64(synapse[s]) + base) & ring_mask] += i64(weight[s + at]) * scale


@register_jitable(forceinline=True)
def _deliver_window(model, state, learned, rows, thread, parity, turn, first_step, n_steps, same_step):
    """Deliver spikes of a window to the targets of one thread; returns the number of synaptic events.

    With `same_step` over delays of 0 only, without it over all others.
    """
    row_start, row_stop, row_base, row_weight, row_projection = rows
    n_threads, target_bits = u64(model.scalars[N_THREADS]), u64(model.scalars[TARGET_BITS])
    n_rows, events = u64(0), u64(0)
    for w in range(u64(n_steps)):
        base = u64(first_step + w) << target_bits
        if learned is not None and not same_step:
            note_step(learned[0], learned[1], first_step + i64(w))
        for t in range(n_threads):
            first = u64(state.spike_offset[t])
            stop = first + u64(state.window_count[turn, w, t * u64(8)])
            first += u64(state.window_count[turn, w, t * u64(8) + u64(1)])
            spikes, p = state.window_spike[parity, w], 0
            while first < stop:
                neuron = i64(spikes[first])
                if neuron < model.population_start[p]:
                    p = 0
                while neuron >= model.population_start[p + 1]:
                    p += 1
                end = first + u64(1)  # the spikes of a population follow each other
                while end < stop and neuron <= i64(spikes[end]) and i64(spikes[end]) < model.population_start[p + 1]:
                    end += u64(1)
                for q in range(model.outgoing_start[p], model.outgoing_start[p + 1]):
                    if (model.projection_same_step[q] == 1) != same_step:
                        continue
                    if learned is not None and learned[0].number[q] >= 0:
                        note_sources(model, learned[0], learned[1], q, spikes, first, end, first_step + i64(w))
                        continue
                    low, high = model.projection_source[q, 0], model.projection_source[q, 1]
                    for j in range(first, end):
                        source = i64(spikes[j]) - low
                        if source < 0 or source >= high - low:
                            continue
                        row = u64(model.projection_row[q] + source * model.projection_row_step[q]) + thread
                        row_start[n_rows] = model.row_start[row]
                        row_stop[n_rows] = model.row_start[row + u64(1)]
                        row_base[n_rows] = base
                        if model.projection_target[q] >= 0:
                            row_base[n_rows] += u64(model.source_target[u64(model.projection_target[q] + source)])
                        row_weight[n_rows] = u64(model.projection_weight[q] + source * model.projection_weight_step[q])
                        row_projection[n_rows] = q
                        events += row_stop[n_rows] - row_start[n_rows]
                        n_rows += u64(1)
                        if n_rows == u64(row_start.size):
                            _deliver_rows(model, state.ring, n_rows, *rows)
                            n_rows = u64(0)
                first = end
    _deliver_rows(model, state.ring, n_rows, *rows)
    if learned is not None and not same_step:
        note_step(learned[0], learned[1], first_step + n_steps)
    return events


@register_jitable(forceinline=True)
def _update(model, state, learned, scratch, thread, stage, first_step, n_steps, chunk_start, counts, spikes, checksum):
    """Advance a thread's neurons of a stage through a window; returns (checksum, plastic events).

    Populations that plastic synapses go to advance step by step, since weights change in between.
    """
    size, events, w = scratch[0].size, u64(0), i64(0)
    while w < (i64(1) if learned is None else n_steps):
        step = first_step + w
        if learned is not None and stage == 0:
            events += arrive(model, state.ring, *learned, state.learning[0] == 1, thread, step)
        for p in range(model.population_size.size):
            learns = learned is not None and learned[0].learns[p] == 1
            if model.population_stage[p] != stage or (w > 0 and not learns):
                continue
            n = i64(1) if learns else n_steps
            first, stop = model.slice_start[p, thread], model.slice_stop[p, thread]
            count, spike, noted = counts[w : w + n], spikes[w : w + n], counts[w]
            before = count.sum()
            if model.population_input[p] < 0:
                if first < stop:
                    checksum = _emit_trains(model, state, p, step, n, count, spike, checksum)
            elif model.population_poisson[p] >= 0 and not _is_probed(model, p):
                for block in range(first, stop, size):
                    checksum = emit_poisson(
                        model, state, scratch, p, block, min(block + size, stop), step, n, count, spike, checksum
                    )  # fmt: skip
            else:
                for block in range(first, stop, size):
                    checksum = _update_block(
                        model, state, scratch, p, block, min(block + size, stop), step, n, chunk_start,
                        count, spike, checksum,
                    )  # fmt: skip
            state.population_spikes[thread, p] += count.sum() - before
            if learned is not None and learns:
                rules, traces, _ = learned
                note_posts(model, rules, traces, state.learning[0] == 1, p, spikes[w], noted, counts[w], step)
        w += 1
    return checksum, events


@compile_kernel
def advance(model, state, learned, scratch, counts, rows, thread, chunk_start, n_steps):
    """Advance by up to n_steps from step chunk_start, as thread `thread` of all.

    `learned` is None or (Rules, Traces, Lists). Returns the steps done: fewer, and the same of all threads, when one
    more window might not fit in the spike record.
    """
    n_threads, window, n_stages = model.scalars[N_THREADS], model.scalars[WINDOW], model.scalars[N_STAGES]
    capacity = state.record_neuron.shape[1]
    used = u64(0)
    checksum, events = u64(0), u64(0)
    done = 0
    note_lit(model, thread, scratch[4])
    parity, turn = i64(0), i64(0)  # not plain 0, which is a type of its own: callees would be compiled twice
    while done < n_steps:
        first_step = chunk_start + done
        n = min(window, n_steps - done)
        counts[:] = 0
        spikes = state.window_spike[parity, :, state.spike_offset[thread] :]
        full = False
        for stage in range(n_stages):
            last = stage == n_stages - 1
            for w in range(n):  # delays of 0 concern the spikes of this stage only
                state.window_count[turn, w, thread * 8 + 1] = 0 if last else counts[w]
            checksum, arrived = _update(
                model, state, learned, scratch, thread, stage, first_step, n, chunk_start, counts, spikes, checksum
            )  # fmt: skip
            events += arrived
            for w in range(n):
                state.window_count[turn, w, thread * 8] = counts[w]
            if last and capacity > 0:
                used = _record_spikes(model, state, u64(thread), done, n, counts, spikes, used)
                state.record_count[parity, thread * 8] = i64(used)
            _meet(state.barrier, u64(n_threads))
            if last:
                for t in range(n_threads):
                    most = window * (state.spike_offset[t + 1] - state.spike_offset[t])
                    full = full or (capacity > 0 and state.record_count[parity, t * 8] + most > capacity)
            events += _deliver_window(
                model, state, learned, rows, u64(thread), parity, turn, first_step, n, not last
            )  # fmt: skip
            turn = 1 - turn
        done += n
        parity = 1 - parity
        if full:
            break
    state.thread_total[thread, 0] += events
    state.thread_total[thread, 1] += checksum
    return done
