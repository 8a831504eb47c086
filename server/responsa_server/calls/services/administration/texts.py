"""Checks of texts that the contract's rules cannot make."""

from __future__ import annotations

from responsa_server.calls import violations
from responsa_server.domain.errors import FieldViolation


def check_texts(resource: str, **texts: str | None) -> None:
    """Refuse a change that empties a text. The contract's rules cannot check this, because they do not see which fields the mask names. texts: the new texts by field; None if the field does not change. Raises InvalidRequest."""
    found = [
        FieldViolation(
            f"{resource}.{name}",
            f"{resource}.{name}",
            "must have at least one character that is not white space; leave it out of update_mask to keep it",
        )
        for name, value in texts.items()
        if value is not None and not value.strip()
    ]
    if found:
        raise violations.invalid(found)
