"""Users and a library, as the contract tests have them."""

from __future__ import annotations

from tests.contract.conftest import harness
from tests.etl.office import office

__all__ = ("harness", "office")
