"""Responsa beside programs of other projects, as docs/maintainers/campaigns.md lists them. `make soak` runs these tests."""
