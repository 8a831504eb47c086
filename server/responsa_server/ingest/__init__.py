"""Ingestion: parsed documents become passages with vectors, by jobs."""
