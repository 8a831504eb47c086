"""E-mail addresses in the one form in which they are kept and compared."""

from __future__ import annotations

import unicodedata

from responsa_server.domain.errors import InvalidRequest

MAX_EMAIL_BYTES = 254


def fold(address: str) -> str:
    """Fold an address: Unicode NFKC and case. "" stays "". Raises InvalidRequest (field email) when it cannot be an address.

    Only the form is checked (RFC 5321 bounds the length): whether mail arrives is found out by sending one.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address.strip()).casefold())
    if not folded:
        return ""
    local, at, domain = folded.rpartition("@")
    printable = all(char.isprintable() and not char.isspace() for char in folded)
    if (
        not at
        or not local
        or "@" in local
        or not domain.strip(".")
        or not printable
        or len(folded.encode()) > MAX_EMAIL_BYTES
    ):
        raise InvalidRequest.of_field(
            "email",
            "email",
            f"must be an e-mail address such as ada@example.org, at most {MAX_EMAIL_BYTES} bytes; or leave it empty",
        )
    return folded
