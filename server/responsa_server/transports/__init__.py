"""The transports that carry calls, one folder each. Each is thin and uses `calls`; no transport imports another."""
