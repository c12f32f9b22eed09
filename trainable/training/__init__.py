"""One training run: losses, the adversary, averages of weights, and the step."""
