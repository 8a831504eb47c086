"""The addresses on which a process listens, as its settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from responsa_local.embedded import LocalLayout
from responsa_server.app.resources import Addresses, addresses
from responsa_server.app.settings import ServeRole, load
from responsa_server.domain.addresses import TcpAddress, UnixAddress, parse
from responsa_server.system.fixable import Fixable


def listens(home: Path, **settings: Any) -> Addresses:
    return addresses(load(home=home, **settings), LocalLayout.of(home))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESPONSA_ROLE", "RESPONSA_GRPC_LISTEN", "RESPONSA_HTTP_LISTEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("role", [ServeRole.ALL, ServeRole.ANSWERS, ServeRole.RPC])
def test_without_a_word_it_is_the_sockets_in_the_data_folder(tmp_path: Path, role: ServeRole) -> None:
    layout = LocalLayout.of(tmp_path)
    found = listens(tmp_path, role=role)
    assert found == Addresses(UnixAddress(layout.server_socket), UnixAddress(layout.gateway_socket))


def test_who_names_a_place_for_calls_has_none_for_the_page_unless_it_names_that_too(tmp_path: Path) -> None:
    one = parse("unix:/tmp/one.sock")
    assert listens(tmp_path, grpc_listen=str(one)) == Addresses(one, None)
    both = listens(tmp_path, grpc_listen=str(one), http_listen="127.0.0.1:9101")
    assert both == Addresses(one, TcpAddress("127.0.0.1", 9101))


def test_a_worker_listens_nowhere_unless_it_is_told_to(tmp_path: Path) -> None:
    for role in (ServeRole.WORKER, ServeRole.JOBS):
        assert listens(tmp_path, role=role) == Addresses(None, None)
    health = listens(tmp_path, role=ServeRole.JOBS, grpc_listen="127.0.0.1:9001", http_listen="127.0.0.1:1")
    assert health == Addresses(TcpAddress("127.0.0.1", 9001), TcpAddress("127.0.0.1", 1))


@pytest.mark.parametrize("setting", ["grpc_listen", "http_listen"])
def test_what_is_no_address_is_told_with_its_setting(tmp_path: Path, setting: str) -> None:
    with pytest.raises(Fixable, match=f"{setting}: 'nowhere' is not an address"):
        listens(tmp_path, **{setting: "nowhere"})
