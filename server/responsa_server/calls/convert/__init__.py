"""Conversion of requests to the domain and of the domain to responses: pure, one direction each, and exhaustive, so that a new kind of event cannot be forgotten."""
