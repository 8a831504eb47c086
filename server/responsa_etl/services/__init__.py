"""The RPCs of sources and profiles."""
