"""Brunel network, 10,000 neurons and 10 million synapses at about 35 Hz: evsim, NEST and Brian2 in turn.

Goals on two cores: 20 times NEST, 8 times Brian2 (C++ standalone, without its compilation); recording all spikes
costs under 5 %.
"""

import tempfile
from pathlib import Path

from common import evsim_run, finish, median, parser, peer_run


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--time", type=float, default=1000.0, help="model time, ms")
    options.add_argument("--record-repeat", type=int, default=5, help="pairs of long runs, without and with recording")
    options.add_argument("--without-peers", action="store_true")
    given = options.parse_args()
    common = ["--time", str(given.time), "--threads", str(given.threads)]
    own, nest, brian2 = [], [], []
    for _ in range(given.repeat):
        own.append(evsim_run("brunel", "--warmup", "100", *common))
        if not given.without_peers:
            nest.append(peer_run("nest_brunel.py", *common))
            brian2.append(peer_run("brian2_brunel.py", *common))
    plain, recorded = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(given.record_repeat):
            out = str(Path(folder) / f"{i}.h5")
            longer = ["--time", str(20 * given.time), "--threads", str(given.threads)]
            plain.append(evsim_run("brunel", *longer))
            recorded.append(evsim_run("brunel", *longer, "--out", out, "--traces", "0"))
            Path(out).unlink()
    ratios = [b["run_s"] / a["run_s"] for a, b in zip(plain, recorded, strict=True)]
    result = {"benchmark": "brunel", **own[0], "run_s": median(own, "run_s")}
    result["real_time_factor"] = result["run_s"] / (given.time * 1e-3)
    result["recording_cost"] = sorted(ratios)[len(ratios) // 2] - 1.0
    for name, runs in (("nest", nest), ("brian2", brian2)):
        if runs:
            result[name] = {**runs[0], "run_s": median(runs, "run_s")}
            result[f"speedup_{name}"] = result[name]["run_s"] / result["run_s"]
    finish(result, given.out)


if __name__ == "__main__":
    main()
