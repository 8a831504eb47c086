"""Writes the tables of docs/agent-keys.md, tools.md and sources.md.

Usage: python tools/agents_reference.py [--check]   (--check only compares, and fails if the page is out of date)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from responsa_etl.sources.declarations import ConnectionTable
from responsa_server.agents.config.declarations import DeclarationTable, SecretTable
from responsa_server.agents.engine.config import AgentConfig, EdgeTable, NodeTable, RetryTable, WhenTable
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.nodes.table import KINDS
from responsa_server.tools.kinds import ToolKind
from responsa_server.tools.table import KINDS as TOOL_KINDS

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
BEGIN: Final = "<!-- written by `make generate` from here -->"
END: Final = "<!-- to here -->"

_HEAD: Final = "| key | default | meaning |\n|---|---|---|"
_TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "A node (`nodes.NAME`)": NodeTable,
    "`retry` of a node": RetryTable,
    "An edge (`graph.edges`)": EdgeTable,
    "`when` of an edge": WhenTable,
}


def main() -> None:
    """Writes the page; with `--check`, only compares it."""
    for name, tables in PAGES.items():
        path = DOCS / name
        before = path.read_text(encoding="utf-8")
        after = page(before, tables())
        if "--check" not in sys.argv[1:]:
            path.write_text(after, encoding="utf-8")
        elif before != after:
            sys.exit(f"docs/{name} is out of date; run `make generate`")


def reference(kinds: Mapping[str, NodeKind] = KINDS) -> str:
    """The tables in Markdown: each key of `agent.toml` with its default, then each kind of node."""
    parts = [_HEAD, *_rows(AgentConfig, "")]
    for title, model in _TABLES.items():
        parts += ["", f"## {title}", "", _HEAD, *_rows(model, "")]
    parts += [
        "",
        "## Kinds of nodes",
        "",
        "After a name, `?` means that the field or option may be absent.",
        "",
    ]
    parts += ["| kind | reads | writes | its own options |", "|---|---|---|---|"]
    parts += [
        f"| `{name}` | {_names(kind.input_model)} | {_names(kind.output_model)} | {_names(kind.options)} |"
        for name, kind in sorted(kinds.items())
    ]
    parts += ["", "## Variables of prompts", "", "What the prompts and templates of a kind may use.", ""]
    parts += ["| kind | anywhere | only below `=== user` |", "|---|---|---|"]
    parts += [
        f"| `{name}` | {_listed(kind.offers.trusted)} | {_listed(kind.offers.untrusted)} |"
        for name, kind in sorted(kinds.items())
        if kind.offers.all
    ]
    return "\n".join(parts) + "\n"


def tools_reference(kinds: Mapping[str, ToolKind] = TOOL_KINDS) -> str:
    """The tables in Markdown: each key of a declaration with its default, then the keys of each kind of tools."""
    parts = [_HEAD, *_rows(DeclarationTable, "")]
    parts += ["", "Keys of each entry of `secrets`:", "", _HEAD, *_rows(SecretTable, "")]
    shown: set[object] = set()
    for name, kind in sorted(kinds.items()):
        effect = "named by the declaration" if kind.effect is None else f"`{kind.effect.value}` by default"
        need = " Needs no declaration." if kind.shipped else ""
        parts += ["", f"### {name}", "", f"{kind.description} Effect: {effect}.{need}"]
        if kind.options.model_fields:
            parts += ["", _HEAD, *_rows(kind.options, "")]
        for field, info in kind.options.model_fields.items():
            entry = next((arg for arg in get_args(info.annotation) if _is_model(arg)), None)
            if entry is not None and entry not in shown:
                shown.add(entry)
                parts += ["", f"Keys of each entry of `{field}`:", "", _HEAD, *_rows(entry, "")]
    return "\n".join(parts) + "\n"


def connections_reference() -> str:
    """The table in Markdown: each key of a declaration of a connection with its default."""
    return "\n".join([_HEAD, *_rows(ConnectionTable, "")]) + "\n"


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "agent-keys.md": reference,
    "tools.md": tools_reference,
    "sources.md": connections_reference,
}
"""The pages with tables, and the functions that return their tables."""


def page(text: str, tables: str) -> str:
    """The page with new tables between its two markers. Raises ValueError if the page lacks the markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the page lacks the two markers between which the tables belong")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    tables: list[tuple[str, type[BaseModel]]] = []
    for field, info in model.model_fields.items():
        name = prefix + (info.alias or field)
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            tables.append((f"{name}.", inner))
        else:
            yield f"| `{name}` | {_default(info)} | {info.description or ''} |"
    for name, table in tables:
        yield from _rows(table, name)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value: Any = info.get_default(call_default_factory=True, validated_data={})
    if value in (None, PydanticUndefined, (), {}, ""):
        return "unset" if value is None or type(None) in get_args(info.annotation) else "empty"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)  # pyright: ignore[reportUnknownVariableType] - texts
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "–"


def _names(model: type[BaseModel]) -> str:
    each = (f"`{name}`" if info.is_required() else f"`{name}`?" for name, info in model.model_fields.items())
    return ", ".join(each) or "–"


if __name__ == "__main__":
    main()
