"""Responsa beside programs of other projects, as docs/real.md lists them. `make soak` runs these tests."""
