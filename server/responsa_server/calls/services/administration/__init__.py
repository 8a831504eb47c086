"""AdminService: one class for each thing that is administered. `calls/contract.py` puts them together."""
