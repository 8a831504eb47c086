"""AdminService: resources, people, the installation, and insight. `calls/contract.py` puts them together."""
