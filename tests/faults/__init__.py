"""Fault campaigns, which test the promises of docs/architecture.md. They kill, stop, cut and flush real processes,
PostgreSQL, Redis and Envoy."""
