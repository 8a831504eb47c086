"""Conversion of requests to the domain, and of the domain to responses. Each function is pure and converts in one direction.

The type checker reports a kind of event that is not converted, so a new kind cannot be forgotten.
"""
