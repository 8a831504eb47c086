"""One file per service of the contract."""
