"""What is generated of the Go client is that of the contract. This needs no Go."""

from __future__ import annotations

from tools.clients.go import DIGEST, REPEATS, digest, repeats


def test_the_stubs_are_those_of_the_contract() -> None:
    remedy = "run `make generate` where Go is installed"
    assert DIGEST.read_text(encoding="utf-8") == digest(), remedy
    # gofmt aligns the values.
    assert REPEATS.read_text(encoding="utf-8").split() == repeats().split(), remedy
