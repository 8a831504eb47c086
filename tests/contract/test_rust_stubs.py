"""What is generated of the Rust client is that of the contract. This needs no Rust."""

from __future__ import annotations

from tools.clients.rust import DIGEST, METHODS, digest, methods


def test_the_messages_and_methods_are_those_of_the_contract() -> None:
    remedy = "run `make generate` where Rust is installed"
    assert DIGEST.read_text(encoding="utf-8") == digest(), remedy
    assert METHODS.read_text(encoding="utf-8") == methods(), remedy
