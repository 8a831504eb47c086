# Generated from ../aio/__init__.py by `make generate`. Do not edit.
"""One of the two clients: `aio` is written by hand, and `make generate` makes `blocking` of it (tools/blocking_client.py)."""

from __future__ import annotations

from responsa_client.blocking.client import Responsa

__all__ = ["Responsa"]
