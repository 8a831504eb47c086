"""The asyncio client, which is written by hand. `make generate` derives the package `blocking` from this package (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.aio.client import AsyncResponsa

__all__ = ["AsyncResponsa"]
