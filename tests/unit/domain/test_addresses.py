"""The names under which a server may be called."""

from __future__ import annotations

import pytest

from responsa_server.domain.addresses import hosts_of, is_by_address, origins_of


def test_the_origins_of_a_port_that_browsers_leave_out() -> None:
    assert set(origins_of(hosts_of(80, ("chat.example.org", "[::1]:443")))) == {
        "http://chat.example.org",
        "https://chat.example.org",
        "https://[::1]",
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((name, True) for name in ("127.0.0.1:9201", "10.1.2.3", "[::1]:9201", "[fd00::5]", "localhost:1", "LOCALHOST")),
        *(
            (name, False)
            for name in (
                "",
                "evil.example",
                "evil.example:9201",
                "127.0.0.1.evil.example:9201",
                "localhost.",
                "localhost.evil.example",
                "127.0.0.1:x",
                "0x7f.1",
            )
        ),
    ],
)  # fmt: skip
def test_addresses_and_names(host: str, expected: bool) -> None:
    assert is_by_address(host) is expected
