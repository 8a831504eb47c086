"""Writes `server/responsa_server/text/german_nouns.bin`, by which `text/compounds.py` finds the parts of German
compounds. Run it with simplemma (MIT), whose dictionary it reads:

uv run --with simplemma==2.0.0 --with PyStemmer python tools/german_nouns.py
"""

from __future__ import annotations

import re
from array import array
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

import Stemmer

from responsa_server.text.compounds import split

TARGET = Path(__file__).parents[1] / "server/responsa_server/text/german_nouns.bin"


def main() -> None:
    """Nouns of 4 to 12 letters that are not compounds of others, by their stems."""
    stem = Stemmer.Stemmer("german").stemWord
    # It is no dependency: only this script reads it.
    dictionaries: Any = import_module("simplemma.strategies.dictionaries.dictionary_factory")
    lemmas = map(str, dictionaries.DefaultDictionaryFactory().get_dictionary("de").values())
    nouns = {lemma.lower() for lemma in lemmas if re.fullmatch("[A-ZÄÖÜ][a-zäöüß]{3,11}", lemma)}
    stems = {stem(noun) for noun in nouns}
    codes = sorted(
        {crc32(stem(noun).encode()) for noun in nouns if not split(noun, lambda part: stem(part) in stems)}
    )
    TARGET.write_bytes(array("I", codes).tobytes())


if __name__ == "__main__":
    main()
