"""What `sweeps.benchmark` measures."""
