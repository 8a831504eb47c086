from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from responsa_server.app.listening import AddressTaken, claim, listen
from responsa_server.domain.addresses import AddressError, TcpAddress, UnixAddress, parse


@pytest.fixture
def folder() -> Iterator[Path]:
    """The path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="rga") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/a.sock", UnixAddress(Path("/run/a.sock"))),
        ("10.0.0.5:9001", TcpAddress("10.0.0.5", 9001)),
        ("[::1]:9001", TcpAddress("::1", 9001)),
        ("localhost:9001", TcpAddress("127.0.0.1", 9001)),
    ],
)
def test_addresses_are_read(text: str, address: UnixAddress | TcpAddress) -> None:
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an address"),
        ("9001", "is not an address"),
        ("10.0.0.5", "is not an address"),
        ("::1:9001", "is not an address"),
        ("http://10.0.0.5:9001", "is not an address"),
        ("10.0.0.5:0", "between 1 and 65535"),
        ("10.0.0.5:70000", "between 1 and 65535"),
        ("replica.example:9001", "not an IP address"),
        ("10.0.0:9001", "not an IP address"),
        ("unix:a.sock", "no absolute path"),
        ("unix:", "no absolute path"),
        ("unix:/" + "x" * 107, "more than 107 bytes"),
    ],
)
def test_what_is_no_address_is_told(text: str, message: str) -> None:
    with pytest.raises(AddressError, match=message):
        parse(text)


def test_a_claimed_socket_is_not_taken_away(folder: Path) -> None:
    address = UnixAddress(folder / "s.sock")
    with claim(address):
        with (
            pytest.raises(AddressTaken, match=r"Another process listens on unix:/.*s\.sock"),
            claim(address),
        ):
            pass
        with claim(UnixAddress(folder / "other.sock")):
            pass
    assert [*folder.iterdir()] == []
    with claim(address):
        pass


def test_a_claim_needs_a_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError), claim(UnixAddress(folder / "none" / "s.sock")):
        pass


def test_a_unix_socket_is_private_and_replaces_what_was_left(folder: Path) -> None:
    (folder / "s.sock").write_text("left by a killed process")
    with listen(UnixAddress(folder / "s.sock")) as listener:
        assert stat.S_IMODE((folder / "s.sock").stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listener.getsockname())


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_tcp_address_is_one_listeners(host: str, family: int) -> None:
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port = int(probe.getsockname()[1])
    address = TcpAddress(host, port)
    with claim(address), listen(address) as listener:
        assert listener.getsockname()[:2] == (host, port)
        with pytest.raises(AddressTaken, match=str(port)):
            listen(address)
        with pytest.raises(AddressTaken, match=str(port)), claim(address):
            pass
