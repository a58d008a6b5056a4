"""The cortical microcircuit of Potjans and Diesmann (2014). `python scripts/microcircuit.py --help` lists options."""

from evsim.experiment import run_experiment

if __name__ == "__main__":
    run_experiment("microcircuit")
