"""The measurements of `python -m sweeps.benchmark`."""
