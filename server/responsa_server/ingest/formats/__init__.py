"""The document formats that are read: one row of `table.py` and one file each."""
