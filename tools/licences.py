"""Writes LICENCES.md: the licences of all packages that the product uses, from the metadata of the installed packages
and from package-lock.json.

Usage: python tools/licences.py [--check]   (--check only compares). Either fails if a licence is not in ALLOWED.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final, cast

from license_expression import ExpressionError, get_spdx_licensing

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "LICENCES.md"
LOCKS: Final = (
    "locks/requirements.lock",
    "locks/requirements-model.lock",
    "locks/requirements-embedded.lock",
    "locks/requirements-ocr.lock",
    "locks/requirements-qdrant.lock",
)
ALLOWED: Final = frozenset(
    {
        *(
            "0BSD",
            "Apache-2.0",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "CC-PDDC",
            "CC0-1.0",
            "ISC",
            "MIT",
            "MIT-0",
            "MIT-CMU",
            "PSF-2.0",
            "Unlicense",
            "Zlib",
        ),
        # Their terms bind changes to the package's own files, and the product changes none.
        *("LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0", "MPL-1.1"),
        "OFL-1.1",  # the page's font
    }
)
CLASSIFIERS: Final[Mapping[str, str]] = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "Python Software Foundation License": "PSF-2.0",
}
"""Older metadata name a licence by a classifier."""
KNOWN: Final[Mapping[str, str]] = {
    "docutils": "BSD-2-Clause AND CC-PDDC",
    "protobuf": "BSD-3-Clause",
    "pypdfium2": "BSD-3-Clause AND Apache-2.0",
    "pyrage": "MIT",
    "zxcvbn-rs-py": "MIT",
}
"""Packages whose metadata do not say their licence in either way, each with the licence in its repository."""
HEAD: Final = """# Licences

`python tools/licences.py` makes this page. It fails if a package has a licence that is not in the list of `tools/licences.py`: \
no licence there asks for the source of a program that uses the package. Responsa itself is licensed under the \
[Apache License 2.0](LICENSE).

The packages are those that are installed on Linux: Python's of the server, of the \
[embedded models](docs/providers.md), of OCR and of the client of Qdrant, and the page's.

| package | licence |
|---|---|
"""

# It has no types there. Reading the list takes a tenth of a second.
_licensing = functools.cache(get_spdx_licensing)  # pyright: ignore[reportUnknownVariableType]


class NotAllowed(Exception):
    """A package has a licence that is not allowed, or says none."""


def packages() -> Iterator[tuple[str, str]]:
    """The name and the licence of each package, as an SPDX expression. Raises NotAllowed."""
    installed = {normalised(one.name): one for one in distributions()}
    for lock in LOCKS:
        for name in re.findall(r"^([\w.-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE):
            # The locks also name packages for other platforms.
            if (found := installed.get(normalised(name))) is not None:
                yield found.name, licence(found)
    locked = cast(
        "Mapping[str, Mapping[str, Any]]",
        json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"],
    )
    for place, package in locked.items():
        _, inside, name = place.rpartition("node_modules/")
        if inside and not package.get("dev") and not package.get("link"):
            yield name, str(package.get("license", ""))


def licence(package: Distribution) -> str:
    """A package's licence, as an SPDX expression; empty if its metadata say none."""
    metadata = package.metadata
    if given := metadata.get_all("License-Expression"):
        return given[0]
    if known := KNOWN.get(normalised(package.name)):
        return known
    named = {
        CLASSIFIERS.get(one.rpartition(" :: ")[2], "")
        for one in metadata.get_all("Classifier") or ()
        if one.startswith("License :: ") and one != "License :: OSI Approved"
    }
    if named and "" not in named:
        return " AND ".join(sorted(named))
    (text,) = metadata.get_all("License") or [""]
    return text if "\n" not in text else ""


def checked(name: str, expression: str) -> str:
    """The expression in its normal form. Raises NotAllowed."""
    try:
        parsed = _licensing().parse(expression, validate=True, simple=True)  # pyright: ignore[reportUnknownMemberType]  # untyped there
    except ExpressionError:
        parsed = None
    if parsed is None:
        raise NotAllowed(
            f"{name}: the licence {expression!r} is no SPDX expression; name it in KNOWN of tools/licences.py"
        )
    for choice in str(parsed.simplify()).split(" OR "):
        if all(part.strip("() ") in ALLOWED for part in re.split(r" AND | WITH [\w.-]+", choice) if part):
            return str(parsed)
    raise NotAllowed(f"{name}: the licence {expression} is not allowed (ALLOWED of tools/licences.py)")


def page() -> str:
    """The whole page. Raises NotAllowed, which names every problem."""
    rows, problems = dict[str, str](), list[str]()
    for name, expression in packages():
        try:
            rows[name] = checked(name, expression)
        except NotAllowed as error:
            problems.append(str(error))
    if problems:
        raise NotAllowed("\n".join(problems))
    return HEAD + "".join(f"| {name} | {rows[name]} |\n" for name in sorted(rows, key=str.lower))


def normalised(name: str) -> str:
    """A distribution's name in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Write the page; with `--check`, only compare it."""
    try:
        text = page()
    except NotAllowed as error:
        sys.exit(str(error))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        sys.exit("LICENCES.md is out of date; run `python tools/licences.py`")


if __name__ == "__main__":
    main()
