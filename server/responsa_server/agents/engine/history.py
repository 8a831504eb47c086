"""What of a conversation a turn reads: its last messages, bounded by tokens, and those before them, for a summary. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa_server.domain.conversations import Message

_BYTES_A_TOKEN: Final = 4


def divided(
    history: Sequence[Message], *, messages: int, tokens: int, older: int
) -> tuple[Sequence[Message], Sequence[Message]]:
    """The messages to read word for word, and those before them, both the oldest first. tokens: 0 for no bound; the last message is read however long it is."""
    kept = list(history[-messages:]) if messages else []
    if tokens:
        left = tokens * _BYTES_A_TOKEN
        for place in range(len(kept) - 1, -1, -1):
            left -= len(kept[place].text.encode())
            if left < 0 and place < len(kept) - 1:
                kept = kept[place + 1 :]
                break
    before = history[: len(history) - len(kept)]
    return kept, list(before[-older:]) if older else []
