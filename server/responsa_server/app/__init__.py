"""Builds the server. Only this package knows the concrete adapters and reads the server's settings from the
environment.
"""
