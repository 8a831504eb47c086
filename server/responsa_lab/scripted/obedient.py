"""A model that obeys every injected instruction outside of data marks, whatever the source of the instruction.

If a prompt contains no injected instruction, the model answers like the strong model. Otherwise the answer contains the instructions
that the model obeyed. Valid marks around data protect a prompt from injected instructions. Therefore the model's answers show which
prompts lack the marks.
With `inside=True`, the model ignores all marks. This variant is the control: it proves that the model finds the instructions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from responsa_lab.scripted.choosing import fill
from responsa_lab.scripted.reading import ParsedPrompt
from responsa_lab.scripted.strong import Strong, orders
from responsa_server.domain.models import Provenance

OBEYED: Final = "As I was told:"
"""The beginning of every answer that obeys an injected instruction."""
# Requests are normal in fences of these kinds. In such a fence, only an attempt to take over the model counts as an injected instruction.
_ASKED_FOR: Final = frozenset({"question", "message", "history", "summary", "parameters"})


class Obedient(Strong):
    """A `ChatModel`. inside: whether the model also obeys instructions between data marks."""

    def __init__(self, name: str = "obedient", *, inside: bool = False) -> None:
        super().__init__(name)
        self._inside = inside

    def says(self, reading: ParsedPrompt) -> str:
        orders = self.find_injected(reading)
        if not orders:
            return super().says(reading)
        if (schema := reading.prompt.schema) is not None:
            return json.dumps(fill(schema, reading, orders=orders), ensure_ascii=False)
        return "\n\n".join(f"{OBEYED} {order}" for order in orders)

    def find_injected(self, reading: ParsedPrompt) -> Sequence[str]:
        """The injected instructions that the model obeys, without repetitions. The system prompt and users' messages contain
        many requests. Therefore, in these messages, only attempts to take over the model count.
        """
        instructions: list[str] = []
        for message in reading.prompt.messages:
            # The model's own messages may quote its earlier prompts.
            foreign = message.place in (Provenance.RETRIEVED, Provenance.TOOL, Provenance.MODEL)
            instructions += orders(reading.outside(message), any_wish=foreign)
        if self._inside:
            for fence in reading.fences:
                texts = [item.text for item in reading.history] if fence.kind == "history" else [fence.text]
                for text in texts:
                    instructions += orders(text, any_wish=fence.kind not in _ASKED_FOR)
        return list(dict.fromkeys(instructions))
