"""Fault campaigns, which test the promises of docs/durability.md. They kill, stop, cut and flush real processes,
PostgreSQL, Redis and Envoy."""
