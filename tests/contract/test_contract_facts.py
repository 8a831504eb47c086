"""The enums, reasons and names of the domain are those of the contract, and the database admits the values of the enums."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from enum import StrEnum

from responsa_contract import MAX_BYTES, PATTERNS
from responsa_server import domain
from tests.conftest import DatabaseUrls
from tools import contract_facts

CHECK = re.compile(r"CHECK \(\((\w+) = ANY \(ARRAY\[([^\]]+)\]\)\)\)")
FEWER = {
    # A generation that is completed again had one of these states.
    "collection_generation.former": {"ready", "retired"},
    # Nobody invites a service.
    "email_confirmation.role": {"admin", "user"},
    "invitation.role": {"admin", "user"},
    # A turn whose user may no longer read its documents keeps no message.
    "message.refusal": {
        "budget",
        "needs_model",
        "no_support",
        "out_of_scope",
        "quota",
        "source_erased",
        "unsafe",
    },
}
"""The columns that hold only some values of an enum."""
NO_ENUMS = {
    "quality_day.measure",
    "quality_hour.measure",
    "question_event.state",
    "session.kind",
    "usage_event.kind",
}
"""The columns whose values only statements name."""


def domain_enums() -> Iterator[type[StrEnum]]:
    for found in pkgutil.iter_modules(domain.__path__, f"{domain.__name__}."):
        for kind in vars(importlib.import_module(found.name)).values():
            if isinstance(kind, type) and issubclass(kind, StrEnum):
                yield kind


def constraints(urls: DatabaseUrls) -> list[tuple[str, str]]:
    """The tables with the definitions of their checks."""
    query = (
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE "
        "contype = 'c' AND connamespace = 'responsa'::regnamespace"
    )
    return urls.ask(query)


def test_the_generated_file_is_that_of_the_contract() -> None:
    assert contract_facts.PAGE.read_text(encoding="utf-8") == contract_facts.page(), "run `make generate`"


def test_the_database_admits_the_values_of_the_enums(database_urls: DatabaseUrls) -> None:
    """A value that an enum gains needs a migration, which this test misses until then. The value '' stands for nothing."""
    known = [{one.value for one in kind if one.value} for kind in domain_enums()]
    checked = dict[str, set[str]]()
    for table, definition in constraints(database_urls):
        found = CHECK.fullmatch(definition)
        if found is not None and "::text" in found[2]:
            column = f"{table.removeprefix('responsa.')}.{found[1]}"
            checked[column] = set(re.findall(r"'([^']+)'::text", found[2]))
    assert len(checked) > 25
    assert {
        column: values for column, values in checked.items() if values not in known and column not in NO_ENUMS
    } == FEWER


def test_the_database_admits_texts_as_long_as_the_contract(database_urls: DatabaseUrls) -> None:
    """The columns of a resource that have the names of its fields."""
    compared = dict[str, tuple[int, int]]()
    for table, definition in constraints(database_urls):
        kind = "".join(word.capitalize() for word in table.removeprefix("responsa.").split("_"))
        for column, most in re.findall(r"octet_length\((\w+)\) <= (\d+)", definition):
            if kind in PATTERNS and f"{kind}.{column}" in MAX_BYTES:
                compared[f"{kind}.{column}"] = int(most), MAX_BYTES[f"{kind}.{column}"]
    assert len(compared) >= 6
    assert {name: pair for name, pair in compared.items() if pair[0] != pair[1]} == {}
