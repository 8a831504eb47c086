# Generated from ../aio/__init__.py by `make generate`. Do not edit.
"""The asyncio client, which is written by hand. `make generate` derives the package `blocking` from this package (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.blocking.client import Responsa

__all__ = ["Responsa"]
