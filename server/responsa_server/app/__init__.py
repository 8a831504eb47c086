"""Builds the server. Only this package knows the concrete adapters and reads the environment."""
