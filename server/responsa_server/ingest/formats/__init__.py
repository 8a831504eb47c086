"""The supported document formats: one row of `table.py` and one file each."""
