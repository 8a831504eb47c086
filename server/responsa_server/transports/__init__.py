"""The transports by which calls arrive, one folder each. Each is thin and uses `calls`; none imports another."""
