"""From trials to training runs: which there are, what they cost, which is best."""
