"""One file a document type, and one explicit table (`table.py`)."""
