"""Text processing for all parts: canonical text, languages, sentences, terms."""
