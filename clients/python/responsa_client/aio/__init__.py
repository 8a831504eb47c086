"""The asyncio client. It is written by hand; `make generate` writes the package `blocking` from it (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.aio.client import AsyncResponsa

__all__ = ["AsyncResponsa"]
