"""What the name of a file, and that of its folder, say of a document. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

Key = TypeVar("Key")

_MOST_WORDS: Final = 12
# Words, names as X200 and 4K, and years. Letters beside more figures are a word if they are enough for it, or else of an id.
_WORD: Final = re.compile(
    r"(?<![^\W_])(?:[^\W\d_]{2,}|[^\W\d_]{1,4}\d{1,4}|\d{1,4}[^\W\d_]{1,4}|(?:19|20)\d\d)(?![^\W_])|[^\W\d_]{4,}"
)
_NO_WORDS: Final = re.compile(r"(?:\.[^\W_]{1,8}){1,2}$|[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12}")


def name_words(address: str) -> str:
    """The words of a file's folder and name, at most 12, without its suffix. address: a path or an address; of an address, the
    scheme, the host and what stands after a question mark do not count."""
    *folders, name = _split(address) or [""]
    words = _WORD.findall(" ".join((*folders[-1:], _NO_WORDS.sub(" ", name))))
    return " ".join([*dict.fromkeys(words)][:_MOST_WORDS])


def tell_apart(titles: Mapping[Key, tuple[str, str]]) -> Mapping[Key, str]:
    """Another title for each document that has that of another: with its file's name, or its folder's if the names are
    the same, too. titles: the title of each document, and its path or address."""
    names: dict[Key, str] = {}
    paths: dict[str, dict[Key, Sequence[str]]] = {}
    for key, (title, address) in titles.items():
        paths.setdefault(title, {})[key] = _split(address)
    for key, (title, _) in titles.items():
        own, same = paths[title][key], paths[title].values()
        # From the end on, the first part that no other path has at the same index.
        parts = (
            own[-index]
            for index in range(1, len(own) + 1)
            if [path[-index:][:1] for path in same].count([own[-index]]) == 1
        )
        if len(same) > 1 and (part := next((part for part in parts if part != title), "")):
            names[key] = f"{title} ({part})"
    return names


def _split(address: str) -> Sequence[str]:
    path = unquote(urlsplit(address).path) if "://" in address else address
    return [part for part in PurePosixPath(path).parts if part not in ("/", ".", "..")]
