"""What stores return of rows that nothing but a message of the contract is made from."""

from __future__ import annotations

from types import SimpleNamespace


class Row(SimpleNamespace):
    """A row with its columns as attributes. `message` of `calls/convert/messages.py` makes a message from it."""
