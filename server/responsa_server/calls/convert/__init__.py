"""Requests to the domain, the domain to responses: one way each, pure, and exhaustive, so that a new kind of event cannot be forgotten."""
