"""Compares this server with its peers. `python -m bench --help` lists the measurements."""
