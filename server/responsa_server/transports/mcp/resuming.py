"""Places in the events of a question, which hosts of protocol versions up to 2025-11-25 send back to get the rest of a
response whose connection was cut."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Final, cast

_ID: Final = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([0-9]{1,18})/([A-Za-z0-9_-]{1,1024})"
)


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A place: after the event `seq` of a turn. request_id, token: of the host's request, which no server remembers:
    the id of JSON-RPC, and the token of progress, or None."""

    turn: str
    seq: int
    request_id: str | int
    token: str | int | None

    def event_id(self) -> str:
        """The id of the event after which this place is: TURN/SEQ, and what the host's request was."""
        asked = json.dumps([self.request_id, self.token], separators=(",", ":")).encode()
        end = base64.urlsafe_b64encode(asked).decode().rstrip("=")
        return f"{self.turn.removeprefix('turns/')}/{self.seq}/{end}"


def place_of(event_id: str) -> ResumePoint | None:
    """The place after the event with this id; None for the id of no such event."""
    match = _ID.fullmatch(event_id)
    if match is None:
        return None
    try:
        asked = json.loads(base64.urlsafe_b64decode(match[3] + "=" * (-len(match[3]) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, list) or len(cast("list[object]", asked)) != 2:
        return None
    request_id, token = cast("list[object]", asked)
    if type(request_id) not in (str, int) or not (token is None or type(token) in (str, int)):
        return None
    return ResumePoint(
        f"turns/{match[1]}", int(match[2]), cast("str | int", request_id), cast("str | int | None", token)
    )
