"""A balanced random network (Brunel 2000). `python scripts/brunel.py --help` lists options."""

from evsim.experiment import run_experiment

if __name__ == "__main__":
    run_experiment("brunel")
