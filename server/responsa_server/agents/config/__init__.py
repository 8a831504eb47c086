"""Agents as files: reading, checking, versions and reloading."""
