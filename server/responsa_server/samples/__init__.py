"""Sample databases, with the sources that turn them into documents."""
