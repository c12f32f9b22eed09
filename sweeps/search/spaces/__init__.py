"""The space of a search: its axes, and what the values of one mean for the others."""
