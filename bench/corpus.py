"""Texts for measurements. They are made from templates, and are the same in every run.

Each document describes an imaginary survey station. A paragraph has about fifty tokens, so that it becomes exactly one
passage in a collection that splits at 64 tokens. Each paragraph contains a unique name, so that exactly one passage
answers a question about this name.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CHUNK_TOKENS: Final = 64
"""The maximum number of tokens per passage in collections of these documents. The overlap is 0."""
_PARAGRAPHS_A_HEADING: Final = 20


def _listed(text: str, separator: str = ", ") -> Sequence[str]:
    return text.split(separator)


_ONSETS: Final = _listed(
    "Bel Cor Dra Fen Gal Hol Ist Kel Lor Mar Nor Ost Pel Rav Sel Tor Ul Ver Wes Yar", " "
)
_CORES: Final = _listed("an ber di el gar hin ka lo mi nor os pra ri sta tu vo", " ")
_ENDS: Final = _listed("beck dale feld gate holm mere mouth ness stead wick", " ")
_KEEPERS: Final = _listed(
    "Ada Boris Clara Doran Edith Felix Greta Hugo Irma Jonas Karin Lukas Mara Nils Olga Petra", " "
)
_TOOLS: Final = _listed(
    "tide gauge, wind vane, seismograph, rain collector, light meter, salinity probe, barograph, snow stake, "
    "ice radar, pollen trap"
)
_WHY: Final = _listed(
    "storms from the north, shipping in the strait, the spring floods, frost in the orchards, the ferry timetable, "
    "a dispute over fishing grounds, the insurance of the mill, a census of seabirds"
)
_FAULTS: Final = _listed(
    "salt in the bearings, a cracked glass, lightning in its mast, mice in the cable duct, a flooded cellar, "
    "ice on the float, a worn spring, dust in the lens"
)
_REMEDIES: Final = _listed(
    "a new seal, a longer cable, a second battery, copper mesh, a heated housing, a taller mast, a spare drum, "
    "weekly oiling"
)


@dataclass(frozen=True, slots=True)
class Text:
    """A document in Markdown, and questions. Each question is answered by one paragraph."""

    key: str
    title: str
    text: str
    questions: Sequence[str]


def documents(number: int, paragraphs: int, *, first: int = 0, seed: int = 1) -> list[Text]:
    """`number` documents with `paragraphs` paragraphs each. The first document has the index `first`. The same seed
    gives the same texts. All texts of a seed differ."""
    return [
        _document(place, paragraphs, random.Random(seed * 1_000_003 + place))
        for place in range(first, first + number)
    ]


def questions(texts: Sequence[Text], number: int, *, seed: int = 1) -> list[str]:
    """`number` different questions of the texts. Raises ValueError if the texts have fewer questions."""
    return random.Random(seed).sample([question for text in texts for question in text.questions], number)


def _document(place: int, paragraphs: int, chance: random.Random) -> Text:
    station = f"{chance.choice(_ONSETS)}{chance.choice(_CORES)}{chance.choice(_ENDS)} {place + 1}"
    parts: list[str] = [f"# Station {station}"]
    questions: list[str] = []
    for paragraph in range(paragraphs):
        site = f"{chance.choice(_ONSETS)}{chance.choice(_CORES)}{chance.choice(_CORES)}{chance.choice(_ENDS)}"
        tool, keeper = chance.choice(_TOOLS), chance.choice(_KEEPERS)
        year = chance.randint(1840, 1990)
        number = f"{site} {paragraph + 1}"
        if paragraph % _PARAGRAPHS_A_HEADING == 0:
            parts.append(f"## Round {paragraph // _PARAGRAPHS_A_HEADING + 1}")
        parts.append(
            f"The {tool} at {number} was set up in {year} because of {chance.choice(_WHY)}; {keeper} read it. "
            f"In {year + chance.randint(1, 30)} it failed through {chance.choice(_FAULTS)}, and {chance.choice(_REMEDIES)} cured that."
        )
        questions += [f"Why was the {tool} at {number} set up?", f"What made the {tool} at {number} fail?"]
    return Text(f"stations/{place:05}.md", f"Station {station}", "\n\n".join(parts) + "\n", questions)
