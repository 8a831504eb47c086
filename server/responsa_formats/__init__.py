"""Parses untrusted documents: their text, its blocks and their places, in processes that can only compute."""
