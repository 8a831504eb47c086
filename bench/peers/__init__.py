"""Servers to compare with, each a process of its own."""
