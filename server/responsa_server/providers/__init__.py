"""Models: adapters for language models, and the embedding model. `app` chooses which ones a server uses."""
