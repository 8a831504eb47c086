"""Text processing that all other parts use: canonical text, languages, sentences, terms."""
