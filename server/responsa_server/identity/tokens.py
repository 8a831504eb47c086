"""Secrets: how they are made, their form, and the digest that is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum

# 32 random bytes in URL-safe base64 without padding.
_BODY = re.compile(r"[A-Za-z0-9_-]{43}")
PREFIX_LENGTH = 8


class SecretKind(StrEnum):
    """The purpose of a secret. The value is the secret's prefix."""

    API_KEY = "rsp_"
    SESSION = "rss_"
    SESSION_CODE = "rsc_"


def new_secret(kind: SecretKind) -> str:
    """Make a secret with 256 random bits, e.g. `rsp_` and 43 characters."""
    return kind.value + secrets.token_urlsafe(32)


def well_formed(kind: SecretKind, secret: str) -> bool:
    """Whether it could be a secret of that kind."""
    return secret.startswith(kind.value) and _BODY.fullmatch(secret, len(kind.value)) is not None


def digest(secret: str) -> bytes:
    """SHA-256 of the secret, the only form that is kept and looked up.

    The lookup compares digests of secrets with 256 random bits, so its duration reveals nothing that helps to guess a secret.
    """
    return hashlib.sha256(secret.encode()).digest()


def shown(secret: str) -> str:
    """The part of a secret that may be shown, to tell keys apart: its kind and four characters."""
    return secret[:PREFIX_LENGTH]
