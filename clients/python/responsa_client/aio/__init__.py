"""The asyncio client. The module `methods` and the package `blocking` are generated (tools/clients/python.py)."""

from __future__ import annotations

from responsa_client.aio.client import AsyncResponsa

__all__ = ["AsyncResponsa"]
