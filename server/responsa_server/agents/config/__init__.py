"""Agents as files: read, checked, and told where they are wrong."""
