"""Adapters for language models, and the embedding model. The package `app` chooses which of them a server uses."""
