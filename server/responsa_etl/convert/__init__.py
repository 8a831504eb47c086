"""Translates the messages of sources and profiles."""
