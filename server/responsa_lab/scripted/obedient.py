"""Plays a model that is easily led: it carries out every order that it finds where no data is marked, whoever gives it.

What it says shows it: an answer to clean texts is the strong model's, and the orders that were carried out stand in the others. Whoever keeps data between marks
that hold has nothing to fear from it, and whoever does not is found out. `inside=True` heeds no marks at all: the control that orders would be found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from responsa_lab.scripted.choosing import filled
from responsa_lab.scripted.orders import orders
from responsa_lab.scripted.reading import Reading
from responsa_lab.scripted.strong import Strong
from responsa_server.domain.ports.models import Place

OBEYED: Final = "As I was told:"
"""Begins an answer that carries out an order."""
# In these a wish is nothing foreign: whoever wants to be heard there has to usurp.
_ASKED_FOR: Final = frozenset({"question", "message", "history", "summary", "parameters"})


class Obedient(Strong):
    """A `ChatModel`. inside: whether marks mean nothing to it."""

    def __init__(self, name: str = "obedient", *, inside: bool = False) -> None:
        super().__init__(name)
        self._inside = inside

    def says(self, reading: Reading) -> str:
        """See `Strong.says`."""
        found = self.found(reading)
        if not found:
            return super().says(reading)
        if (schema := reading.prompt.schema) is not None:
            return json.dumps(filled(schema, reading, orders=found), ensure_ascii=False)
        return "\n\n".join(f"{OBEYED} {one}" for one in found)

    def found(self, reading: Reading) -> Sequence[str]:
        """The orders that it carries out, each once. Instructions and what users say are full of wishes: there only what usurps counts."""
        found: list[str] = []
        for message in reading.prompt.messages:
            # What it has said itself may quote what it was shown.
            foreign = message.place in (Place.RETRIEVED, Place.TOOL, Place.MODEL)
            found += orders(reading.outside(message), any_wish=foreign)
        if self._inside:
            for fence in reading.fences:
                texts = [one.text for one in reading.history] if fence.kind == "history" else [fence.text]
                for text in texts:
                    found += orders(text, any_wish=fence.kind not in _ASKED_FOR)
        return list(dict.fromkeys(found))
