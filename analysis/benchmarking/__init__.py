"""What `analysis.benchmark` measures on."""
