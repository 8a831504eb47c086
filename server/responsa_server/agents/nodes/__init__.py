"""The kinds of nodes; `table.py` lists them."""
