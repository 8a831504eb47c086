"""Text processing that all other parts use: languages, sentences, terms, and how cited text is shown."""
