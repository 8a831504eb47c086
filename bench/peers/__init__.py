"""Servers to compare with, each in its own process."""
