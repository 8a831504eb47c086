"""When a command says that it waits."""

from __future__ import annotations

import math
import re
import sys
import threading
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr

from responsa_client import Reconnecting, ResourceExhausted, Unavailable, Waiting
from responsa_local.commands import admin
from responsa_local.commands.admin import database_there
from responsa_server.app.settings import Settings
from responsa_server.app.waiting import Reaching
from responsa_server.cli.connecting import ClientLine
from responsa_server.cli.waiting import TIMEOUT_SECONDS, WaitingLine, quiet_seconds, set_timeout, timeout

AWAY = Unavailable(
    grpc.StatusCode.UNAVAILABLE, "The database cannot be reached; try again.", reason="PART_UNAVAILABLE"
)
LIMIT = ResourceExhausted(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "You have asked 10 questions; ask again.", reason="RATE_LIMIT"
)


@pytest.mark.parametrize(
    ("notices", "said"),
    [
        ([Waiting(3)], []),
        ([Reconnecting(0.1, None)], []),
        # What is over at once is not worth a line; what goes on is.
        ([Reconnecting(0.2, AWAY, 0.0, 30.0)], []),
        (
            [Reconnecting(0.2, AWAY, 0.4, 29.6)],
            ["The database cannot be reached. Waiting until T, 30 seconds."],
        ),
        # Each wait has one line, however often the client tries.
        (
            [Reconnecting(1.0, AWAY, 0.0, 30.0), Reconnecting(1.0, AWAY, 0.2, 29.8)],
            ["The database cannot be reached. Waiting until T, 30 seconds."],
        ),
        (
            [Reconnecting(1.0, AWAY, 0.0, 30.0), Reconnecting(1.0, AWAY, 0.0, 60.0)],
            [f"The database cannot be reached. Waiting until T, {seconds} seconds." for seconds in (30, 60)],
        ),
        # A limit says when it ends.
        (
            [Reconnecting(0.2, LIMIT, 0.0, math.inf)],
            ["You have asked 10 questions. Waiting until T, 1 second."],
        ),
    ],
)
def test_a_wait_is_said_once(notices: list[Reconnecting | Waiting], said: list[str]) -> None:
    lines: list[str] = []
    line = ClientLine(lines.append)
    for notice in notices:
        line(notice)
    assert [re.sub(r"\d\d:\d\d:\d\d", "T", one) for one in lines] == said


@pytest.mark.parametrize(("worked", "quiet"), [(0.0, 0.9), (0.4, 0.5), (0.6, 0.4), (90.0, 0.4)])
def test_the_first_word_comes_sooner_after_a_slow_start(worked: float, quiet: float) -> None:
    assert quiet_seconds(worked) == pytest.approx(quiet)


def test_a_command_speaks_before_a_silent_database_has_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spoken, seen = threading.Event(), list[bool]()

    def attempt(_: Reaching) -> str:
        seen.append(spoken.wait(60))
        return ""

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr)
        spoken.set()

    monkeypatch.setattr(Reaching, "attempt", attempt)
    monkeypatch.setattr(admin, "WaitingLine", lambda: WaitingLine(say))
    settings = Settings.model_construct(
        home=tmp_path, database_url=SecretStr("postgresql://nobody@127.0.0.1/x")
    )
    with database_there(settings):
        assert seen == [True]
    assert capsys.readouterr().err.startswith("The database has not answered yet. Waiting until ")


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 86401.0])
def test_a_time_has_bounds(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"must be 0\.1 to 86400"):
        set_timeout(seconds)
    assert timeout() == TIMEOUT_SECONDS
