"""From uploaded bytes to cited passages."""
