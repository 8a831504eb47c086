"""Responsa beside programs of other projects, as docs/maintainers/real.md lists them. `make soak` runs these tests."""
