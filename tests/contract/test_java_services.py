"""What is generated of the Java client is that of the contract. This needs no Java."""

from __future__ import annotations

from tools.clients.java import SERVICES, sources


def test_the_services_are_those_of_the_contract() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in SERVICES.iterdir()}
    assert found == sources(), "run `make generate`"
