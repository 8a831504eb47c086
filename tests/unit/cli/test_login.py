"""Questions for secrets: an empty answer counts where the secret is optional, and Ctrl-D gives up everywhere."""

from __future__ import annotations

import getpass
import io
import sys

import pytest

from responsa_server.cli.login import ask_secret
from responsa_server.cli.output import CommandFailed


def test_ctrl_d_gives_up_where_an_empty_secret_would_be_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [""]

    def password_prompt(prompt: str, stream: object) -> str:
        if not answers:
            raise EOFError
        return answers.pop()

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(getpass, "getpass", password_prompt)
    assert ask_secret("Password", "password", optional=True) == ""
    with pytest.raises(CommandFailed, match=r"no password"):
        ask_secret("Password", "password", optional=True)
