"""Text as every part sees it: canonical text, languages, sentences, terms."""
