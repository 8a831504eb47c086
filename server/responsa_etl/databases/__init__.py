"""Databases of the organisation, which sources read. Nothing is ever written to them."""
