"""Why an answer shows passages of the documents in place of a text by a language model, and what nobody has checked of
such a text, for readers who see only text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_TITLES: Final[Mapping[str, str]] = {
    "en": "Closest passages:",
    "de": "Nächstliegende Stellen:",
}
_UNCHECKED: Final[Mapping[str, str]] = {
    "en": "Responsa checked that the quotes are there, not that they are right.",
    "de": "Responsa hat geprüft, dass die Zitate dort stehen, nicht, dass sie stimmen.",
}
_CAUSES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "no_model": "No language model is configured",
        "declined": "The model found no answer in these passages",
        "uncited": "The language model wrote nothing that the documents support",
        "budget": "An answer by the language model would exceed a limit",
        "": "The language model is not available at the moment",
    },
    "de": {
        "no_model": "Es ist kein Sprachmodell eingestellt",
        "declined": "Das Modell hat in diesen Stellen keine Antwort gefunden",
        "uncited": "Das Sprachmodell hat nichts geschrieben, was die Dokumente belegen",
        "budget": "Eine Antwort des Sprachmodells würde ein Limit überschreiten",
        "": "Das Sprachmodell ist gerade nicht verfügbar",
    },
}
_FAULT: Final = re.compile(r"[a-z0-9_]{1,80}")
_LINE: Final = re.compile(
    "|".join(
        rf"(?:(?:{'|'.join(map(re.escape, _CAUSES[language].values()))})(?: \([a-z0-9 ]{{1,80}}\))?\. )?{re.escape(title)}"
        for language, title in _TITLES.items()
    )
)


def why_passages(causes: Sequence[str], language: str = "en") -> str:
    """The line above the passages, which claims nothing of them. causes: of the answer's fallbacks to passages, such as
    "no_model" or "model_unavailable:rate_limited"; the last one counts, and without one, the agent asks no language
    model. language: "de"; anything else is English."""
    language = language if language in _TITLES else "en"
    if not causes:
        return _TITLES[language]
    kind, _, fault = causes[-1].rpartition(":")
    known = _CAUSES[language].get(kind or fault, "")
    unknown = f" ({fault.replace('_', ' ')})" if not known and _FAULT.fullmatch(fault) else ""
    return f"{known or _CAUSES[language]['']}{unknown}. {_TITLES[language]}"


def tell_unchecked(language: str = "en") -> str:
    """The line below the sources of a model's text that no other has judged. language: as above."""
    return _UNCHECKED.get(language, _UNCHECKED["en"])


def without_why(text: str) -> str:
    """A text without the line if it begins with it, and without the white space behind it."""
    return text[match.end() :].lstrip() if (match := _LINE.match(text)) else text
