"""Taking in documents: formats, the sandbox, passages, embeddings, jobs."""
