"""Ray: a cluster, its slots, and Tune as an executor of training runs."""
