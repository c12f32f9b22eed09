"""Generators, discriminators, and published weights."""
