"""Training runs as folders: their keys, checkpoints, results and masks."""
