"""Campaigns against the promises of docs/durability.md: real processes, real PostgreSQL, Redis and Envoy, killed, stopped, cut and flushed."""
