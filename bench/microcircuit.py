"""The full-scale microcircuit (77,169 neurons, 299 million synapses): evsim and NEST in turn.

Goals on two cores: built within 60 s and 6 GB, 20 times as fast as NEST, which needs 4 threads to hold it.
"""

from common import evsim_run, finish, median, parser, peer_run


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--time", type=float, default=1000.0, help="model time, ms, after 500 ms not measured")
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--drive", choices=("poisson", "dc"), default="poisson")
    options.add_argument("--nest-time", type=float, default=200.0, help="model time NEST runs, ms")
    options.add_argument("--nest-repeat", type=int, default=1)
    given = options.parse_args()
    network = ["--scale", str(given.scale), "--drive", given.drive]
    own, nest = [], []
    for i in range(given.repeat):
        own.append(evsim_run("microcircuit", *network, "--time", str(given.time), "--threads", str(given.threads)))
        if i < given.nest_repeat:
            nest.append(peer_run("nest_microcircuit.py", *network, "--time", str(given.nest_time), "--threads", "4"))
    result = {"benchmark": "microcircuit", "drive": given.drive, **own[0]}
    for key in ("run_s", "build_s", "real_time_factor", "events_per_s"):
        result[key] = median(own, key)
    if nest:
        result["nest"] = {**nest[0], "real_time_factor": median(nest, "real_time_factor")}
        result["speedup_nest"] = result["nest"]["real_time_factor"] / result["real_time_factor"]
    finish(result, given.out)


if __name__ == "__main__":
    main()
