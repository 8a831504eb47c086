"""The browser's WebSocket in the page of a signed-in user: the cookie authenticates it, and the page's security policy allows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.person import Person

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALK = """
([messages, protocols, ends]) => new Promise((resolve) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws/chat", protocols);
  const frames = [];
  socket.onopen = () => { for (const one of messages) socket.send(JSON.stringify(one)); };
  socket.onmessage = (event) => {
    frames.push(JSON.parse(event.data));
    if (frames.filter((one) => ends.includes(one.type)).length === messages.length) socket.close();
  };
  socket.onclose = (event) => resolve({ frames, code: event.code, protocol: socket.protocol });
})
"""


async def test_a_page_that_is_signed_in_asks_and_goes_on(asker: Person) -> None:
    page = (await asker.sign_in()).page
    question = {"content": "tokens=20 pace_ms=0", "agent": "testing", "deltas": True}
    found: dict[str, Any] = await page.evaluate(TALK, [[question], ["responsa.v1"], ["message", "error"]])
    frames: list[dict[str, Any]] = found["frames"]
    assert found["protocol"] == "responsa.v1"
    assert frames[-1]["type"] == "message"
    assert frames[-1]["content"].startswith("<p>")
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))
    # Resume the turn through another socket, from the first frame on.
    resume = {"type": "resume", "turn": frames[0]["turn"], "after_seq": frames[0]["seq"], "deltas": True}
    again: dict[str, Any] = await page.evaluate(TALK, [[resume], [], ["message", "error"]])
    assert again["frames"][-1] == frames[-1]
    text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    assert "".join(frame["text"] for frame in again["frames"] if frame["type"] == "delta") == text
