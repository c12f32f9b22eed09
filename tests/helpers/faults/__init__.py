"""The fault program: sweeps that are killed, stopped and starved, and must end with the same bits.

PYTHONPATH=tests/helpers python -m faults [--kills 40] [--seed 0] [--only NAME] [--short] [--list]
"""
