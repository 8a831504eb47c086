"""What a parsed document is, and how its text is written."""
