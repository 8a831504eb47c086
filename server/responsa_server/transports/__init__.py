"""The transports that carry calls, each in its own folder. Each transport is a thin layer on `calls`, and no transport imports another."""
