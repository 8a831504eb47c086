"""One file a node; `graph/registry.py` has the table."""
