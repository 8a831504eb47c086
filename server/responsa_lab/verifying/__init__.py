"""Compares a live provider with what the adapters and the scripted servers of the tests assume about it."""
