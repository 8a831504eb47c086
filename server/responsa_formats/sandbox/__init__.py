"""Parses untrusted documents in a process that can only compute."""
