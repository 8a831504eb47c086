"""The asyncio client, written by hand. `make generate` makes `blocking` from it (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.aio.client import AsyncResponsa

__all__ = ["AsyncResponsa"]
