"""The cortical microcircuit of Potjans & Diesmann (2014) in NEST: the peer of evsim's own benchmark of it.

Eight populations of iaf_psc_exp neurons: 77,169 neurons and 298.9 million synapses at full scale. ``--scale``
shrinks the number of neurons and the number of inputs per neuron alike; weights grow by 1 / sqrt(scale) and a
constant current makes up for the missing mean input (van Albada, Helias & Diesmann 2015), so that rates are
roughly kept. With ``--drive dc`` a small network falls silent: its constant current is below the 375 pA that
reach the threshold. NEST allows 134 million connections a thread, so the full scale needs at least 4 threads.

Numbers: Potjans & Diesmann, Cerebral Cortex 24 (2014) 785, doi:10.1093/cercor/bhs358, with the optimised
initial state and the inhibitory delay of 0.75 ms of the authors' PyNEST model (the paper gives 0.8 ms, for
which there is ``--delay-inh``).
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from peer_report import add_common_arguments, peak_memory_bytes, print_report

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
# Row: target, column: source.
PROBABILITY = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
EXTERNAL_INPUTS = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
EXTERNAL_RATE = 8.0  # Hz an input
FULL_RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])  # Hz, of the full model
V_MEAN = (-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43)  # mV, at the start
V_STD = (5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48)  # mV

C_M, TAU_M, TAU_SYN = 250.0, 10.0, 0.5  # pF, ms, ms
NEURON = {
    "C_m": C_M,
    "tau_m": TAU_M,
    "tau_syn_ex": TAU_SYN,
    "tau_syn_in": TAU_SYN,
    "E_L": -65.0,
    "V_th": -50.0,
    "V_reset": -65.0,
    "t_ref": 2.0,
}
PSP, G, WEIGHT_REL_STD = 0.15, -4.0, 0.1  # mV, -, -
DELAY_EXC, DELAY_REL_STD = 1.5, 0.5  # ms, -
DT = 0.1  # ms
SAMPLE = 1000  # neurons of each population recorded for its rate


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of neurons and inputs (default %(default)s)")
    parser.add_argument("--drive", choices=("poisson", "dc"), default="poisson", help="default %(default)s")
    parser.add_argument("--delay-inh", type=float, default=0.75, help="mean, ms (default %(default)s)")
    parser.add_argument("--presim", type=float, default=500.0, help="untimed warm-up, ms (default %(default)s)")
    add_common_arguments(parser, time=1000.0, threads=4)
    return parser.parse_args()


def current_per_potential() -> float:
    """Return the amplitude (pA) of an exponential current whose potential peaks at 1 mV."""
    ratio = (TAU_M / TAU_SYN) ** (1.0 / (TAU_SYN - TAU_M))
    return C_M * (TAU_SYN - TAU_M) / (TAU_M * TAU_SYN * (ratio**TAU_M - ratio**TAU_SYN))


def synapse_numbers() -> np.ndarray:
    """Return the number of synapses of the full model, targets x sources.

    That many pairs drawn with replacement leave a given pair connected with the published probability.
    """
    pairs = np.outer(SIZES, SIZES).astype(float)
    return np.log1p(-PROBABILITY) / np.log1p(-1.0 / pairs)


def scaled_parameters(scale: float, drive: str) -> dict[str, np.ndarray]:
    """Work out the sizes, weights and currents of a network of the given scale.

    Parameters
    ----------
    scale : float
        Factor on the number of neurons and on the number of inputs of a neuron.
    drive : str
        "poisson" or "dc": how the external input arrives.

    Returns
    -------
    dict
        sizes (8,), synapses (8, 8), weights (8, 8) in pA, external_weight in pA, external_rate (8,) in Hz and
        current (8,) in pA. Rows are targets.
    """
    weight_exc = PSP * current_per_potential()
    weights = np.tile(np.where(np.arange(8) % 2 == 0, weight_exc, G * weight_exc), (8, 1))
    weights[POPULATIONS.index("L23E"), POPULATIONS.index("L4E")] *= 2.0
    synapses = synapse_numbers()

    mean_external = 1e-3 * TAU_SYN * weight_exc * EXTERNAL_INPUTS * EXTERNAL_RATE  # pA
    mean_recurrent = 1e-3 * TAU_SYN * (weights * synapses / SIZES[:, None]) @ FULL_RATES
    missing = 1.0 - np.sqrt(scale)
    if drive == "poisson":
        current = missing * (mean_recurrent + mean_external)
    else:
        current = missing * mean_recurrent + mean_external
    return {
        "sizes": np.round(SIZES * scale).astype(int),
        "synapses": np.round(synapses * scale**2).astype(int),
        "weights": weights / np.sqrt(scale),
        "external_weight": weight_exc / np.sqrt(scale),
        "external_rate": EXTERNAL_RATE * np.round(EXTERNAL_INPUTS * scale),
        "current": current,
    }


def connect(nest, populations: list, parameters: dict, delay_inh: float) -> None:
    """Make the recurrent synapses: normal weights of unchanged sign, normal delays of at least one step."""
    for target, row in enumerate(parameters["synapses"]):
        for source, number in enumerate(row):
            if number == 0:
                continue
            weight = parameters["weights"][target, source]
            delay = DELAY_EXC if weight > 0.0 else delay_inh
            limits = {"min": 0.0, "max": np.inf} if weight > 0.0 else {"min": -np.inf, "max": 0.0}
            weights = nest.random.normal(mean=weight, std=WEIGHT_REL_STD * abs(weight))
            delays = nest.random.normal(mean=delay, std=DELAY_REL_STD * delay)
            synapse = {
                "weight": nest.math.redraw(weights, **limits),
                # NEST rounds to whole steps after the redraw, so this half step becomes one step.
                "delay": nest.math.redraw(delays, min=0.5 * DT, max=np.inf),
            }
            rule = {"rule": "fixed_total_number", "N": int(number)}
            nest.Connect(populations[source], populations[target], rule, synapse)


def build(nest, arguments: argparse.Namespace, parameters: dict) -> tuple[list, list]:
    """Create and connect the network; return its populations and their spike recorders."""
    nest.ResetKernel()
    nest.set(resolution=DT, local_num_threads=arguments.threads, rng_seed=arguments.seed)
    populations, recorders = [], []
    for index, size in enumerate(parameters["sizes"]):
        neuron = {**NEURON, "I_e": parameters["current"][index]}
        population = nest.Create("iaf_psc_exp", int(size), neuron)
        population.V_m = nest.random.normal(mean=V_MEAN[index], std=V_STD[index])
        if arguments.drive == "poisson":
            noise = nest.Create("poisson_generator", params={"rate": parameters["external_rate"][index]})
            synapse = {"weight": parameters["external_weight"], "delay": DELAY_EXC}
            nest.Connect(noise, population, syn_spec=synapse)
        recorder = nest.Create("spike_recorder", params={"start": arguments.presim})
        nest.Connect(population if arguments.record else population[: min(SAMPLE, len(population))], recorder)
        populations.append(population)
        recorders.append(recorder)
    connect(nest, populations, parameters, arguments.delay_inh)
    return populations, recorders


def main() -> None:
    """Build, warm up, time one run and report."""
    arguments = parse_arguments()
    os.environ["PYNEST_QUIET"] = "1"
    import nest  # after the command line: the import takes seconds and prints a banner

    nest.verbosity = nest.VerbosityLevel.ERROR
    parameters = scaled_parameters(arguments.scale, arguments.drive)
    start = time.perf_counter()
    _populations, recorders = build(nest, arguments, parameters)
    nest.Prepare()
    connect_s = time.perf_counter() - start
    nest.Run(arguments.presim)
    build_s = time.perf_counter() - start

    start = time.perf_counter()
    nest.Run(arguments.time)
    run_s = time.perf_counter() - start
    spikes = nest.local_spike_counter  # of the latest Run only
    nest.Cleanup()

    sizes = parameters["sizes"]
    recorded = sizes if arguments.record else np.minimum(SAMPLE, sizes)
    rates = np.array([recorder.n_events for recorder in recorders]) / recorded / (arguments.time * 1e-3)
    # Sampled rates share out the events; the exact number of spikes sets their sum.
    spike_share = rates * sizes / max(1.0, np.sum(rates * sizes))
    outdegree = parameters["synapses"].sum(axis=0) / sizes
    print_report(
        arguments,
        simulator="NEST",
        packages=("nest-simulator", "numpy"),
        neurons=int(sizes.sum()),
        synapses=int(parameters["synapses"].sum()),
        spikes=spikes,
        events=float(spikes * np.sum(spike_share * outdegree)),
        rate_hz=dict(zip(POPULATIONS, rates.tolist(), strict=True)),
        build_s=build_s,
        run_s=run_s,
        memory_bytes=peak_memory_bytes(),
        scale=arguments.scale,
        drive=arguments.drive,
        delay_inh_ms=arguments.delay_inh,
        connect_s=round(connect_s, 3),
    )


if __name__ == "__main__":
    main()
