"""Turns: accepted, run, logged and followed. The log in the store is the truth; everything else here only makes it faster."""
