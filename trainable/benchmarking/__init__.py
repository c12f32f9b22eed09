"""What `trainable.benchmark` measures, and the plain loop that it compares with."""
