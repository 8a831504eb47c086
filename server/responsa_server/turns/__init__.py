"""Accepts, runs, logs and follows turns. The log in the store is the only source of truth; all other state here only saves time."""
