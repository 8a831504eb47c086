"""One of the two clients: `aio` is written by hand, and `make generate` makes `blocking` of it (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.aio.client import AsyncResponsa

__all__ = ["AsyncResponsa"]
