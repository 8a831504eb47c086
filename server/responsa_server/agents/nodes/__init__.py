"""The kinds of nodes, one file each; `table.py` has the table."""
