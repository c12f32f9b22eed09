"""Run Ray: a cluster, its slots, and Tune as the executor of training runs."""
