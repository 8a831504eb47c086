"""Writes `server/responsa_server/text/nouns_de.bin` and its like, by which `text/compounds.py` finds the parts of
compounds. Run it with simplemma (MIT), whose dictionaries it reads:

uv run --with simplemma==2.0.0 --with PyStemmer python tools/nouns.py
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

import Stemmer

from responsa_server.text.compounds import LANGUAGES, split

TARGET = Path(__file__).parents[1] / "server/responsa_server/text"
_STEMMERS = {
    "de": "german",
    "nl": "dutch",
    "sv": "swedish",
    "da": "danish",
    "no": "norwegian",
    "fi": "finnish",
}
# How forms end that only nouns have; in German, a noun has a capital letter. In Dutch, they are diminutives and plurals.
_NOUN_FORMS = {
    "nl": ("je", "en", "s"),
    "sv": ("ens", "ans", "ets", "nas", "ns"),
    "da": ("ens", "ets", "nes"),
    "no": ("ene",),
    "fi": ("ssa", "ssä"),
}


def main() -> None:
    """Nouns of at most 12 letters that are not compounds of others, by their stems."""
    for language, least in LANGUAGES.items():
        codes = sorted(list_codes(language, least))
        (TARGET / f"nouns_{language}.bin").write_bytes(array("I", codes).tobytes())


def list_codes(language: str, least: int) -> set[int]:
    """The checksums of a language's nouns of at least so many letters."""
    stem = Stemmer.Stemmer(_STEMMERS[language]).stemWord
    nouns = {noun for noun in list_nouns(language) if least <= len(noun) <= 12}
    stems = {stem(noun) for noun in nouns}

    def is_noun(part: str) -> bool:
        return stem(part) in stems

    def is_compound(noun: str) -> bool:
        if language == "de":
            return bool(split(noun, is_noun, least))
        # The stem of "parke" is that of "park", but "parkering" is no compound.
        heads = ((noun[:end], noun[end:]) for end in range(least, len(noun) - least + 1))
        return any(
            tail in nouns and (head in nouns or (head[-1] == "s" and is_noun(head))) for head, tail in heads
        )

    return {crc32(stem(noun).encode()) for noun in nouns if not is_compound(noun)}


def list_nouns(language: str) -> Iterator[str]:
    """The nouns of a language in small letters."""
    # It is no dependency: only this script reads it.
    dictionaries: Any = import_module("simplemma.strategies.dictionaries.dictionary_factory")
    name = "nb" if language == "no" else language
    forms: dict[str, list[str]] = defaultdict(list)
    for form, lemma in dictionaries.DefaultDictionaryFactory().get_dictionary(name).items():
        forms[_text(lemma)].append(_text(form))
    for lemma in forms:
        if language == "de":
            if re.fullmatch("[A-ZÄÖÜ][a-zäöüß]+", lemma):
                yield lemma.lower()
        elif lemma.isalpha() and lemma.islower() and _is_noun(language, lemma, forms):
            yield lemma


def _is_noun(language: str, lemma: str, forms: Mapping[str, Sequence[str]]) -> bool:
    own = [form for form in forms[lemma] if form != lemma]
    if language != "nl" or any(form.endswith("je") for form in own):
        return any(form.endswith(_NOUN_FORMS[language]) for form in own)
    # Verbs end in "en", and adjectives have a superlative.
    return (
        not lemma.endswith("en")
        and not any(form.endswith("st") for form in own)
        and any(form.endswith(_NOUN_FORMS[language]) for form in own)
    )


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else word


if __name__ == "__main__":
    main()
