"""Whose requests the cookie of a session signs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.domain.addresses import hosts_of, origins_of
from responsa_server.domain.errors import NotPermitted, Reason

OWN = "https://chat.example.org"
COOKIE = SessionCookie("session", origins_of(hosts_of(8080, ("localhost", "chat.example.org:443"))))


@pytest.mark.parametrize("own", ["http://localhost:8080", "https://localhost:8080", OWN])
def test_the_own_pages(own: str) -> None:
    for sent in ({"origin": [own]}, {"origin": [own], "sec-fetch-site": ["cross-site"]}):
        assert COOKIE.token({"cookie": ["a=b; session=x"], **sent}, safe=False) == "x"


@pytest.mark.parametrize(
    "origins",
    [
        ["null"],
        [""],
        ["https://www.example.org"],
        ["http://chat.example.org"],  # anybody in the network can have written this page
        ["https://chat.example.org:443"],
        ["https://chat.example.org:8443"],
        ["https://chat.example.org."],
        ["https://chat.example.org/"],
        ["https://CHAT.example.org"],
        ["http://localhost"],
        ["http://localhost:80800"],
        [OWN, OWN],
        [OWN, "https://www.example.org"],
        [f"{OWN}, https://www.example.org"],
    ],
)
def test_pages_of_other_origins(origins: Sequence[str]) -> None:
    """They stay without it, whatever else they send."""
    for site in ({}, {"sec-fetch-site": ["same-origin"]}):
        sent = {"cookie": ["session=x"], "origin": origins, **site}
        assert COOKIE.is_foreign(sent)
        assert not COOKIE.is_in(sent)
        assert [COOKIE.token(sent, safe=safe) for safe in (True, False)] == [None, None]


@pytest.mark.parametrize(
    ("sites", "reads", "changes"),
    [
        ([], True, "refused"),
        (["none"], True, "refused"),
        (["same-origin"], True, "signed in"),
        (["same-site"], False, "foreign"),
        (["cross-site"], False, "foreign"),
        (["Same-Origin"], False, "foreign"),
        ([""], False, "foreign"),
        (["same-origin", "cross-site"], False, "foreign"),
        (["same-origin, cross-site"], False, "foreign"),
    ],
)
def test_requests_without_an_origin(sites: Sequence[str], reads: bool, changes: str) -> None:
    sent: Mapping[str, Sequence[str]] = {"cookie": ["session=x"], "sec-fetch-site": sites}
    assert COOKIE.token(sent, safe=True) == ("x" if reads else None)
    if changes == "refused":
        with pytest.raises(NotPermitted) as raised:
            COOKIE.token(sent, safe=False)
        assert raised.value.reason is Reason.ORIGIN_NOT_ALLOWED
    else:
        assert COOKIE.token(sent, safe=False) == ("x" if changes == "signed in" else None)
    # Without the cookie, there is nothing to refuse.
    assert COOKIE.token({**sent, "cookie": ["session_8081=x"]}, safe=False) is None
