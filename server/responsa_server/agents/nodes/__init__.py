"""The kinds of nodes; `table.py` has the table."""
