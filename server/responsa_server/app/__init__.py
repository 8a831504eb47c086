"""Builds the server. No other package knows the concrete adapters or reads the environment."""
