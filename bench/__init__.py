"""Measures this server beside its peers. `python -m bench --help` tells what it can measure."""
