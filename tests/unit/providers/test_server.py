"""The common parts of all adapters, independent of the protocol."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from responsa_server.providers import http_model


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert http_model.retry_after({"retry-after": later}, now) == 90.0
    assert (
        http_model.retry_after({"retry-after": format_datetime(now, usegmt=True)}, now + timedelta(1)) == 0.0
    )


@pytest.mark.parametrize(
    "text",
    [
        "sk-abcdefgh1234",
        "Authorization: Bearer abcdefghijk",
        "x-api-key: 'abcdefghijk'",
        "AIzaSyA1234567890",
        "rsp_abcdefgh",
    ],
)
def test_what_looks_like_a_key_is_not_shown(text: str) -> None:
    shown = http_model.shown(f"no: {text} is wrong")
    assert shown.startswith("no: ")
    assert shown.endswith(" is wrong")
    assert "[key]" in shown
    assert not any(part in shown for part in ("abcdefgh", "1234"))


def test_what_is_shown_is_short() -> None:
    assert len(http_model.shown("ü" * 10_000).encode()) <= 500
