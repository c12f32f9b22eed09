"""Sweeps of one's own, described in Python or in YAML, and run from a program."""
