"""Writes the version and the names of publishing.toml wherever they stand: into build files, lock files, sources and documentation.

Usage: python tools/publishing.py
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PRESENT: Final[Mapping[str, tuple[str, str]]] = {
    "version": ("clients/python/pyproject.toml", r'^version = "(.+)"$'),
    "python.client": ("clients/python/pyproject.toml", r'^name = "(.+)"$'),
    "python.formats": ("server/responsa_formats/pyproject.toml", r'^name = "(.+)"$'),
    "typescript.client": ("clients/typescript/package.json", r'^  "name": "(.+)"'),
    "typescript.contract": ("generated/ts/package.json", r'^  "name": "(.+)"'),
    "go.client": ("clients/go/go.mod", r"^module (.+)$"),
    "go.contract": ("generated/go/go.mod", r"^module (.+)$"),
    "rust.client": ("clients/rust/Cargo.toml", r'^name = "(.+)"$'),
    "rust.contract": ("generated/rust/Cargo.toml", r'^name = "(.+)"$'),
    "java.group": ("clients/java/pom.xml", r"^  <groupId>(.+)</groupId>$"),
    "java.client": ("clients/java/pom.xml", r"^  <artifactId>(.+)</artifactId>$"),
}
"""Each value of publishing.toml, with the file and the pattern in which its present one is found."""
FORMS: Final[Mapping[str, Sequence[str]]] = {
    "pyproject.toml": (
        'version = "%(version)s"',
        '"%(python.client)s==%(version)s"',
        "\n%(python.client)s = {",
        '"%(python.formats)s==%(version)s"',
        '"%(python.formats)s[parsers]"',
        "\n%(python.formats)s = {",
    ),
    "server/responsa_server/__init__.py": ('__version__ = "%(version)s"',),
    "server/responsa_formats/pyproject.toml": ('name = "%(python.formats)s"\nversion = "%(version)s"',),
    "server/responsa_formats/README.md": ("# %(python.formats)s\n",),
    "clients/python/pyproject.toml": ('name = "%(python.client)s"\nversion = "%(version)s"',),
    "clients/python/README.md": ("`%(python.client)s`",),
    "clients/python/responsa_client/langchain.py": ("%(python.client)s[langchain]",),
    "tools/clients/betterproto.py": ("%(python.client)s[betterproto]",),
    "tools/lock": ("--no-emit-package %(python.client)s", "--no-emit-package %(python.formats)s"),
    "package.json": ('"version": "%(version)s"',),
    "package-lock.json": (
        '"name": "responsa-workspace",\n  "version": "%(version)s"',
        '"name": "responsa-workspace",\n      "version": "%(version)s"',
        '"name": "%(typescript.client)s",\n      "version": "%(version)s"',
        '"name": "%(typescript.contract)s",\n      "version": "%(version)s"',
        '"name": "@responsa/web",\n      "version": "%(version)s"',
        '"%(typescript.client)s": "%(version)s"',
        '"%(typescript.contract)s": "%(version)s"',
    ),
    "clients/typescript/package.json": (
        '"version": "%(version)s"',
        '"%(typescript.contract)s": "%(version)s"',
    ),
    "clients/web/package.json": (
        '"version": "%(version)s"',
        '"%(typescript.client)s": "%(version)s"',
        '"%(typescript.contract)s": "%(version)s"',
    ),
    "generated/ts/package.json": ('"version": "%(version)s"',),
    "clients/go/go.mod": ("%(go.contract)s v%(version)s",),
    "clients/rust/Cargo.toml": (
        'name = "%(rust.client)s"\nversion = "%(version)s"',
        '%(rust.contract)s = { path = "../../generated/rust", version = "%(version)s" }',
    ),
    "clients/rust/Cargo.lock": (
        'name = "%(rust.client)s"\nversion = "%(version)s"',
        ' "%(rust.contract)s",',
        'name = "%(rust.contract)s"\nversion = "%(version)s"',
    ),
    "generated/rust/Cargo.toml": ('name = "%(rust.contract)s"\nversion = "%(version)s"',),
    "clients/java/pom.xml": (
        "  <groupId>%(java.group)s</groupId>\n  <artifactId>%(java.client)s</artifactId>\n  <version>%(version)s</version>",
    ),
    "clients/java/README.md": (
        "  <groupId>%(java.group)s</groupId>\n  <artifactId>%(java.client)s</artifactId>\n  <version>%(version)s</version>",
    ),
    "deploy/helm/responsa/Chart.yaml": ("\nversion: %(version)s", 'appVersion: "%(version)s"'),
    "deploy/compose/compose.yaml": ("${RESPONSA_VERSION:-%(version)s}",),
    "docs/first-calls.md": (
        "| Python | `%(python.client)s`",
        "| Java | `%(java.group)s:%(java.client)s`",
        "| Rust | `%(rust.client)s`",
    ),
    "docs/deployment.md": ("responsa:%(version)s",),
    "docs/python-client.md": ("`%(python.client)s`",),
    "docs/install.md": ("responsa-%(version)s-py3", "_{client,formats}-%(version)s-py3"),
}
"""The texts with values, by the file in which they stand."""
SPREAD: Final = ("typescript.client", "typescript.contract", "go.client", "go.contract")
"""The names that sources import. Nothing else looks like them, so they are replaced in all files of `FOLDERS` and in `FORMS`."""
FOLDERS: Final = ("clients", "docs", "generated/go", "tests")
SUFFIXES: Final = frozenset({".go", ".html", ".json", ".md", ".mjs", ".mod", ".py", ".ts", ".yaml"})
BUILT: Final = frozenset({"dist", "node_modules"})


def wanted(root: Path = ROOT) -> Mapping[str, str]:
    """The values of publishing.toml, such as `go.client`."""
    found = tomllib.loads((root / "publishing.toml").read_text(encoding="utf-8"))
    version = found.pop("version")
    found.pop("owner", None)
    names = {
        f"{language}.{name}": value for language, values in found.items() for name, value in values.items()
    }
    return {"version": version, **names}


def owner(root: Path = ROOT) -> str:
    """Who owns the names in the registries; "" if nobody does yet."""
    return tomllib.loads((root / "publishing.toml").read_text(encoding="utf-8")).get("owner", "")


def present(root: Path = ROOT) -> Mapping[str, str]:
    """The values that the build files have."""
    return {
        name: re.findall(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)[0]
        for name, (file, pattern) in PRESENT.items()
    }


def missing(root: Path = ROOT) -> list[str]:
    """What `fill` would write and a file does not have."""
    values = wanted(root)
    return [
        f"{file}: {form % values}"
        for file, forms in FORMS.items()
        for form in forms
        if form % values not in (root / file).read_text(encoding="utf-8")
    ]


def fill(root: Path = ROOT) -> None:
    """Write the values of publishing.toml in place of the present ones. Exits if a file does not have a text in which a value stands."""
    old, new = present(root), wanted(root)
    if old == new:
        return
    spread = {old[name]: new[name] for name in SPREAD}
    names = re.compile("|".join(re.escape(name) for name in sorted(spread, key=len, reverse=True)))
    for file in _files(root):
        before = text = file.read_text(encoding="utf-8")
        for form in FORMS.get(str(file.relative_to(root)), ()):
            text = text.replace(form % old, form % new)
        text = names.sub(lambda found: spread[found[0]], text)
        if text != before:
            file.write_text(text, encoding="utf-8")
    if absent := missing(root):
        sys.exit("publishing: these texts are missing:\n" + "\n".join(absent))


def _files(root: Path) -> Iterator[Path]:
    yield from (root / file for file in FORMS if not file.startswith(FOLDERS))
    for folder in FOLDERS:
        for path, folders, files in os.walk(root / folder):
            folders[:] = [name for name in folders if name not in BUILT]
            for name in files:
                file = Path(path, name)
                if file.suffix in SUFFIXES or str(file.relative_to(root)) in FORMS:
                    yield file


if __name__ == "__main__":
    fill()
