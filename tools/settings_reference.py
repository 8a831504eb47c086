"""Writes docs/settings.md from the settings themselves.

Usage: python tools/settings_reference.py [--check]   (--check only compares, and fails if the page is out of date)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from responsa_server.app.settings import Settings
from responsa_server.system.instance import CHECKOUT

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
Row = tuple[str, str, str, str]
HEAD = """# Settings

Which settings does the server have, and what are their defaults? `make generate` writes this page from the `settings.py` of \
each package.

A setting comes from the first of these sources that has it: an environment variable, a secret file (one for each setting, in \
the folder `RESPONSA_SECRETS_DIR`), the TOML file (`RESPONSA_CONFIG`, or `responsa.toml` in the data folder), and the \
default. If a setting is wrong, the server does not start, and its message names the setting.

The variable of `turns.lease_seconds` is `RESPONSA_TURNS__LEASE_SECONDS`; another one is named in brackets. In TOML, a \
group is a table: `[turns]`, `lease_seconds = 6`. A name with braces stands for one setting for each word in them; if \
their defaults differ, they are in the order of the words. In the groups `limits` and `quotas`, 0 means no limit.

"""


def rows(model: type[Any], prefix: str, environment: str) -> Iterator[Row]:
    """The TOML name, variable, default and description of every setting. Groups come last."""
    groups: list[tuple[str, type[Any]]] = []
    hints = get_type_hints(model)
    for name, field in fields_of(model).items():
        kind = cast("type[Any] | None", field.annotation)
        if isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind)):
            groups.append((name, kind))
            continue
        held = get_args(hints[name])[1] if get_origin(hints[name]) is dict else None
        if isinstance(held, type) and issubclass(held, BaseModel):
            # This dictionary holds any number of groups, each under a name that the operator chooses.
            groups.append((f"{name}.NAME", held))
            continue
        alias = field.validation_alias
        variable = (
            str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{environment}{name.upper()}"
        )
        default = field.get_default(call_default_factory=True)
        yield prefix + name, variable, shown(default), field.description or ""
    for name, group in groups:
        yield from rows(group, f"{prefix}{name}.", f"{environment}{name.upper().replace('.', '__')}__")


def fields_of(group: type[Any]) -> Mapping[str, FieldInfo]:
    """The settings of a group, which is a model or a dataclass."""
    if issubclass(group, BaseModel):
        return group.model_fields
    assert is_dataclass(group)
    hints = get_type_hints(group, include_extras=True)
    return {
        field.name: FieldInfo.from_annotated_attribute(hints[field.name], field.default)
        for field in fields(group)
    }


def shown(value: object) -> str:
    """A default in the form that the page shows. A path in the checkout is relative to the checkout."""
    if isinstance(value, Path):
        return f"`{value.relative_to(CHECKOUT)}` in the checkout" if value != CHECKOUT else "the checkout"
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", (), [], {}):
        return "empty"
    return f"`{value}`"


def joined(all_rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, in which settings of sibling groups with one name and one description share a row."""
    shared: dict[tuple[str, str, str], list[Row]] = {}
    for row in all_rows:
        group, _, name = row[0].rpartition(".")
        shared.setdefault((group.rpartition(".")[0], name if "." in group else row[0], row[3]), []).append(
            row
        )
    for siblings in shared.values():
        names, variables, defaults, texts = zip(*siblings, strict=True)
        yield (
            braced(names, "."),
            braced(variables, "__"),
            ", ".join(defaults if len(set(defaults)) > 1 else defaults[:1]),
            texts[0],
        )


def braced(names: Sequence[str], between: str) -> str:
    """`a.{b,c}.d` for the names `a.b.d` and `a.c.d`."""
    if len(names) == 1:
        return names[0]
    parts = [name.rsplit(between, 2) for name in names]
    return between.join((parts[0][0], f"{{{','.join(group for _, group, _ in parts)}}}", parts[0][2]))


def page() -> str:
    """The whole page."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    for name, variable, default, text in joined(rows(Settings, "", "RESPONSA_")):
        plain = f"RESPONSA_{name.upper().replace('.', '__')}"
        other = "" if variable == plain else f" (`{variable}`)"
        lines.append(f"| `{name}`{other} | {default} | {text} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Writes the page; with `--check`, only compares it."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/settings.md is out of date; run `make generate`")


if __name__ == "__main__":
    main()
