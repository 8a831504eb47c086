"""The supported document formats. Each format has one row in `table.py` and one file."""
