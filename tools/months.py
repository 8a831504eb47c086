"""Writes `server/responsa_server/text/months.json`, by which `text/dates.py` reads dates: of each language the names of the
months, whether they have a capital letter, and the words that it puts between the parts of a date. They
are those of the Unicode CLDR (Unicode licence), as Babel (BSD) has them:

uv run --with babel==2.19.0 python tools/months.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "server/responsa_server/text/months.json"
# Those that `responsa_formats.text.languages` knows, and Vietnamese.
_LANGUAGES = (
    "en es de fr it pt nl sv da nb fi pl cs ro tr hu ca id ru ar hi el he th ta hy vi".split()  # noqa: SIM905 a list of names
)
_NAME = re.compile(r"[^\d\s]{3,}")


def main() -> None:
    """Chinese, Japanese and Korean have no names of months."""
    table = {"no" if code == "nb" else code: describe(code) for code in _LANGUAGES}
    lines = (
        f"  {json.dumps(code)}: {json.dumps(row, ensure_ascii=False, sort_keys=True)}"
        for code, row in table.items()
    )
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def describe(code: str) -> dict[str, Any]:
    """A row of the table."""
    core: Any = import_module("babel.core")  # it is no dependency: only this script reads it
    ids: Any = import_module("babel.localedata").locale_identifiers()
    locales = [core.Locale.parse(each) for each in sorted(ids) if each.split("_")[0] == code]
    locales = [locale for locale in locales if not locale.script]
    own = core.Locale.parse(code)
    names = {name: month for locale in locales for name, month in names_of(locale)}
    return {
        "capital": own.months["format"]["wide"][1][0].isupper(),
        "links": sorted({word for locale in locales for word in links_of(locale)}),
        "months": [
            " ".join(sorted(name for name, _ in group))
            for _, group in groupby(sorted(names.items(), key=lambda item: item[1]), key=lambda item: item[1])
        ],
    }


def names_of(locale: Any) -> Iterator[tuple[str, int]]:
    """The names of the months in small letters, whole and shortened, without what links them to the day."""
    for form in locale.months.values():
        for width in ("wide", "abbreviated"):
            for month, name in form[width].items():
                word = re.sub(r"^d(?:e |['’])", "", name.lower().replace(".", ""))
                if _NAME.fullmatch(word):
                    yield word, month


def links_of(locale: Any) -> Iterator[str]:
    """The words between day, month and year."""
    patterns = [locale.date_formats[width].pattern for width in ("long", "full")]
    patterns += [each for key, each in locale.datetime_skeletons.items() if key in ("yMMMM", "MMMMd")]
    for pattern in map(str, patterns):
        for quoted in re.findall(r"'([^']+)'", pattern):
            yield from re.findall(r"[^\W\d_]+", quoted.lower())


if __name__ == "__main__":
    main()
