"""Ingestion: formats, the sandbox, passages, embeddings, jobs."""
