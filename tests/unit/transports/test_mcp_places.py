"""Ids of events, which hosts send back."""

from __future__ import annotations

import base64
import json

import pytest

from responsa_server.transports.mcp.resuming import ResumePoint, place_of

TURN = "0192f3c8-7c1d-7b3e-9f6e-0d4f6a1b2c3d"


@pytest.mark.parametrize(("request_id", "token"), [(7, None), ("a/b", "t"), (0, 3)])
def test_a_place_comes_back_from_its_id(request_id: str | int, token: str | int | None) -> None:
    place = ResumePoint(f"turns/{TURN}", 12, request_id, token)
    assert place.event_id().startswith(f"{TURN}/12/")
    assert place_of(place.event_id()) == place


@pytest.mark.parametrize("place", ["x", "[]", "[true, null]", "[1, []]", '{"a": 1}', "[1, 2, 3]", "[" * 500])
def test_what_is_no_place_is_none(place: str) -> None:
    end = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    assert place_of(f"{TURN}/1/{end}") is None
    good = base64.urlsafe_b64encode(json.dumps([1, None]).encode()).decode().rstrip("=")
    for wrong in (f"{TURN}/-1/{good}", f"{TURN}/1", f"x/1/{good}", f"{TURN}/1/{good}/", f"{TURN}/1/é"):
        assert place_of(wrong) is None
