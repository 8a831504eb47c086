"""One file a service of the contract."""
