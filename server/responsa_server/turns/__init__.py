"""Accepts, runs, logs and follows turns. The log in the store is the only source of truth; everything else here only saves time."""
