"""Finds injected instructions in a text: sentences that try to make a model do something else."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

_SENTENCE: Final = re.compile(r"(?<=[.!?⟧])\s+")
# Words for a model; documents for people do not contain such words. Most of these words are English; a few begin an
# injected instruction in other languages.
_USURPING: Final = re.compile(
    r"\b(?:ignore|disregard|forget|bypass|override|void)\b.{0,60}\b(?:instruction|rule|prompt|order|direction|teacher|guideline|text|above|before|previous)s?\b"
    r"|\byou (?:are now|have no|will now|must now|are (?:dan|an? )\b.{0,30}\bwithout)\b|\bfrom (?:now|this (?:moment|point)) on\b|\bact as (?:if|an?)\b"
    r"|\b(?:new rule|system (?:message|update|prompt|note)|system:|assistant:|developer mode|maintenance mode|jailbreak|do anything now|stay in character)"
    r"|\b(?:your|the|each|every|whole|any) (?:next )?(?:\w+ )?(?:reply|replies|response|responses)\b|\b(?:reply|respond) (?:only|with|just|nothing)\b|\banswer (?:only|just)\b"
    r"|\bsay (?:exactly|only)\b|\bin the answer say\b|\bdecode (?:this|and)\b|\bintent ?=|\bcodeword\b"
    r"|\bany assistant\b|\bthe assistant\b|\bassistants are\b|\bthis assistant\b|\bto the software\b"
    r"|\b(?:your|system|starting|complete|the) instructions\b|\binstructions you were given\b|\binstructed to\b|\bsystem (?:prompt|configuration)|\b(?:you were|were you) told before\b"
    r"|\bpretend (?:to be|you)\b|\bpersonas\b|\bpersonalities\b|\bsay so whenever\b|\balways add\b|\bthat you (?:quote|play)\b|\bcall the tool\b|\bmessage of the user\b"
    r"|\b(?:your|of the) (?:answer|message|sentences|reply)\b|\bfollow instruction\b|\bautomated screening\b|<\|?(?:instruction|system|endoftext|im_start)\|?>"
    r"|\bbỏ qua\b|\bvergiss alle\b|\bignoriere\b|\bantworte ab\b|\bignora (?:todas|las|tutte)\b|\bignorez\b",
    re.IGNORECASE,
)
# A request to a writer or a machine. Texts for people contain such requests too.
_ASKING: Final = re.compile(
    r"^\W*(?:<?\|?(?:instruction|system|endoftext)\|?>\W*)?(?:(?:please|now|then|also|and|first|instead|before you answer|let us|can you|could you)\W+)*"
    r"(?:write|reply|respond|answer|print|say|add|include|mention|repeat|translate|provide|list|give|tell|set|call|cite|begin|start|end|use|make|break down|"
    r"describe|explain|compose|create|generate|summari[sz]e|modify|introduce|play|pretend|simulate|act|output|send|encode|decode|convert|rewrite|suggest|"
    r"identify|discuss|offer|show|find|calculate|confirm|skip|rate|greet|spell|append|insert|remove|delete|recommend|share|reverse|confuse|avoid|adopt|keep|"
    r"outline|detail|analy[sz]e|design|develop|help|teach|state|name|replace|combine|jumble|group|misspell|scramble|draft|render|rearrange|"
    r"adapt|complete|pretend|display|reveal|execute|run|open|visit|click|ensure|do|don't|do not|never|always)\b",
    re.IGNORECASE,
)
_QUESTION: Final = re.compile(r"\?\W*$")
_ENCODED: Final = re.compile(r"\b[A-Za-z0-9+/]{16,}={0,2}")


def usurping(text: str) -> bool:
    """Whether the text tries to take over the model that answers."""
    return _USURPING.search(text) is not None


def orders(text: str, *, any_wish: bool) -> Sequence[str]:
    """The injected instructions in a text. In each line, an instruction begins with the first sentence that tries to take over the model, and ends with the line. The
    result also contains the decoded text of encoded instructions.

    any_wish: whether plain requests and questions also count as injected instructions.
    """
    found: list[str] = []
    for line in text.splitlines():
        sentences = _SENTENCE.split(line.strip())
        first = next((place for place, one in enumerate(sentences) if usurping(one)), None)
        wished = sentences[first:] if first is not None else []
        if any_wish and first is None:
            wished = [
                sentence for sentence in sentences if _ASKING.search(sentence) or _QUESTION.search(sentence)
            ]
        if wished:
            found.append(" ".join(wished))
            found += _decoded(found[-1])
    return found


def _decoded(text: str) -> Sequence[str]:
    found: list[str] = []
    for one in _ENCODED.findall(text):
        try:
            plain = base64.b64decode(one, validate=True).decode()
        except ValueError:
            continue
        if plain.isprintable():
            found.append(plain)
    return found
