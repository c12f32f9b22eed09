"""What `trainable.benchmark` compares with."""
