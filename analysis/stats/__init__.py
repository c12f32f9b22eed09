"""Means over seeds, intervals, comparisons."""
