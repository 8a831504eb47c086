"""Users and a library, as the contract tests have them."""

from __future__ import annotations

from tests.contract.conftest import house, people

__all__ = ("house", "people")
