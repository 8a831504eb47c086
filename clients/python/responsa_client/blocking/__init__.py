# Generated from ../aio/__init__.py by `make generate`. Do not edit.
"""The asyncio client. It is written by hand; `make generate` writes the package `blocking` from it (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.blocking.client import Responsa

__all__ = ["Responsa"]
