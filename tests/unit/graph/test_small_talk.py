"""The kinds of small talk, and the replies of the fixed templates to them."""

from __future__ import annotations

import json

import pytest

from responsa_server.agents.engine.small_talk import SmallTalk, small_talk_of
from responsa_server.instance import SHIPPED_AGENTS
from tests.unit.graph.evidence import Shelf
from tests.unit.graph.shipping import shipped
from tests.unit.graph.speaking import told_by
from tests.unit.graph.test_shipped import asked, parts, whole

NOT_UNDERSTOOD = "I did not find a question about documents in this message"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Hi!", SmallTalk.GREETING),
        ("Hello, how are you?", SmallTalk.GREETING),
        ("Good to see you again.", SmallTalk.GREETING),
        ("Bonjour, ça va ?", SmallTalk.GREETING),
        ("Thanks, that was great", SmallTalk.THANKS),
        ("Good bye and thanks", SmallTalk.THANKS),
        ("See you tomorrow!", SmallTalk.FAREWELL),
        ("have a nice weekend", SmallTalk.FAREWELL),
        ("Who are you and what can you do?", SmallTalk.ABOUT),
        ("Hi, who are you?", SmallTalk.ABOUT),
        ("r u a bot", SmallTalk.ABOUT),
        ("help", SmallTalk.ABOUT),
        ("Can you help me?", SmallTalk.ABOUT),
        ("That helped me a lot.", SmallTalk.OTHER),
        ("asdfgh", SmallTalk.OTHER),
        ("I'm feeling sad today", SmallTalk.OTHER),
        ("Tell me a joke", SmallTalk.OTHER),
        ("", SmallTalk.OTHER),
    ],
)
def test_the_kinds(message: str, kind: SmallTalk) -> None:
    assert small_talk_of(message) is kind


def test_no_question_that_needs_documents_looks_like_a_greeting_or_thanks() -> None:
    lines = (SHIPPED_AGENTS / "chat" / "examples" / "intents.jsonl").read_text(encoding="utf-8").splitlines()
    asked_about = [
        one["text"] for one in map(json.loads, lines) if one["label"] in ("qa", "post", "linkedin")
    ]
    assert len(asked_about) > 100
    kinds = (SmallTalk.GREETING, SmallTalk.THANKS, SmallTalk.FAREWELL)
    mistaken = [one for one in asked_about if small_talk_of(one) in kinds]
    assert len(mistaken) < len(asked_about) / 20, mistaken


@pytest.mark.parametrize(
    ("message", "begin"),
    [
        ("Hello, how are you?", "Good to hear from you! This is "),
        ("Thank you!", "You are welcome! This is "),
        ("goodbye", "Goodbye from "),
        ("Who are you?", "I am Chat, a program."),
        ("Tell me a joke", NOT_UNDERSTOOD),
    ],
)
async def test_the_reply_fits_the_message(message: str, begin: str) -> None:
    shelf = Shelf()
    end = whole(await told_by(shipped("chat", parts(None, shelf)), asked(message, {"intent": "chitchat"})))
    assert end.text.startswith(begin)
    assert shelf.asked == []
    assert "for example:\n- " in end.text
