"""The tables of the paper and of sweeps."""
