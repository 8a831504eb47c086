from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from responsa_local.embedded.envoy import envoy_binary
from responsa_local.envoy.envoy_config import (
    EnvoyConfig,
    EnvoyConfigError,
    render,
    templates_folder,
)
from responsa_local.envoy.local_replies import LOCAL_REPLIES, LocalReply
from responsa_local.envoy.templates import TemplateError, Templates
from responsa_local.envoy.tracing import EnvoyTracing
from responsa_server.calls.status import SERVER_GONE
from responsa_server.domain.addresses import parse_network
from responsa_server.domain.errors import Reason, ResponsaError
from tests.gateway.conftest import OTHER_ORIGIN, endpoints

ROOT = Path(__file__).resolve().parents[3]
CONFIG = EnvoyConfig(port=8080, endpoints=Path("/run/replicas"), listen_address="127.0.0.1")


def validate(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "envoy.json"
    file.write_text(text)
    command = [
        str(envoy_binary()),
        "--mode",
        "validate",
        "-c",
        str(file),
        "--disable-hot-restart",
        "-l",
        "warn",
    ]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, admin_socket=Path("/run/a.sock")),
        replace(CONFIG, port=443, listen_address="::", allowed_hosts=("chat.example.org", "10.0.0.5:9000")),
        replace(CONFIG, allowed_origins=(OTHER_ORIGIN, "http://[::1]:3000")),
        replace(
            CONFIG,
            connections_per_address=1_000,
            tracing=EnvoyTracing("http://127.0.0.1:4317", True, 0.05, "responsa", headers={"key": "x"}),
        ),
        replace(
            CONFIG,
            connections_per_address=1_000,
            trusted_proxies=[parse_network("10.0.0.0/8"), parse_network("2001:db8::/32")],
            tracing=EnvoyTracing("https://example.org/v1/traces", False, 1, "responsa", False, {"key": "x"}),
        ),
    ],
    ids=["plain", "admin", "public", "origins", "connections", "proxies"],
)
def test_envoy_takes_it_without_a_warning(config: EnvoyConfig, tmp_path: Path) -> None:
    done = validate(render(replace(config, endpoints=endpoints(tmp_path))), tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.replace("configuration", "").strip().endswith("OK"), done.stdout
    assert "[warning]" not in done.stdout, done.stdout


def test_envoy_refuses_a_misspelt_field(tmp_path: Path) -> None:
    text = render(replace(CONFIG, endpoints=endpoints(tmp_path))).replace(
        '"stream_idle_timeout"', '"stream_idle_timeouts"'
    )
    assert validate(text, tmp_path).returncode != 0


def test_hosts_get_the_port_and_lose_it_where_it_is_the_schemes_own() -> None:
    assert CONFIG.domains == ("127.0.0.1:8080", "localhost:8080", "[::1]:8080")
    public = replace(CONFIG, port=443, allowed_hosts=("Chat.example.org", "10.0.0.5:9000", "[::1]"))
    assert public.domains == (
        "chat.example.org:443",
        "chat.example.org",
        "10.0.0.5:9000",
        "[::1]:443",
        "[::1]",
    )
    proxied = replace(CONFIG, allowed_hosts=("chat.example.org:443",))
    assert proxied.domains == ("chat.example.org:443", "chat.example.org")
    assert "https://chat.example.org" in proxied.origins


def test_own_pages_are_allowed_origins_by_themselves() -> None:
    origins = replace(CONFIG, allowed_hosts=("localhost",), allowed_origins=(OTHER_ORIGIN,)).origins
    assert origins == ("http://localhost:8080", "https://localhost:8080", OTHER_ORIGIN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"port": 0}, "between 1 and 65535"),
        ({"port": 70_000}, "between 1 and 65535"),
        ({"listen_address": "localhost"}, "not an IP address"),
        ({"allowed_hosts": ()}, "at least one host"),
        ({"allowed_hosts": ("*",)}, "not a host name"),
        ({"allowed_hosts": ("http://localhost",)}, "not a host name"),
        ({"allowed_origins": ("*",)}, "not an origin"),
        ({"allowed_origins": ("https://a.example/",)}, "not an origin"),
        ({"endpoints": Path("replicas")}, "absolute path"),
        ({"connections_per_address": -1}, "not a number of connections"),
        ({"admin_socket": Path("relative.sock")}, "absolute path"),
        ({"admin_socket": Path("/" + "x" * 120)}, "at most 107 bytes"),
    ],
)
def test_wrong_values_are_told(change: dict[str, object], words: str) -> None:
    with pytest.raises(EnvoyConfigError, match=words):
        replace(CONFIG, **change)


def test_values_cannot_change_the_structure(tmp_path: Path) -> None:
    strange = 'x": [1], "y'
    (tmp_path / "a.yaml").write_text('key: ${value}\nlist: [1, "${nothing}"]\nother: ${file:b.yaml}\n')
    (tmp_path / "b.yaml").write_text("{deep: '${value}'}\n")
    filled = Templates(tmp_path, {"value": strange, "nothing": None}).render("a.yaml")
    assert filled == {"key": strange, "list": [1], "other": {"deep": strange}}


def test_a_condition_leaves_a_mapping_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        'list: [{if: "${value}", a: "${value}"}, {if: "${nothing}", b: 1}]\nkey: {if: "${nothing}"}\n'
    )
    filled = Templates(tmp_path, {"value": [1], "nothing": None}).render("a.yaml")
    assert filled == {"list": [{"a": [1]}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("key: ${unknown}", "there is no value"),
        ("key: a ${value}", "within other text"),
        ("key: ${file:none.yaml}", "none.yaml cannot be read"),
        ("key: [", "cannot be read"),
        ("key: 1", "no template in .* uses: value"),
    ],
)
def test_templates_that_do_not_fit_are_told(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(TemplateError, match=words):
        Templates(tmp_path, {"value": 1}).render("a.yaml")
    with pytest.raises(EnvoyConfigError):
        render(CONFIG, tmp_path)


def test_the_templates_are_in_the_checkout() -> None:
    names = {path.name for path in templates_folder().glob("*.yaml")}
    assert {"bootstrap.yaml", "listener.yaml", "routes.yaml", "origins.yaml"} == names


def test_every_status_has_a_reply_and_none_is_out_of_reach() -> None:
    reached: set[int] = set()
    for status in range(400, 600):
        plain = [
            n for n, r in enumerate(LOCAL_REPLIES) if r.first <= status <= r.last and not _conditional(r)
        ]
        assert plain, status
        reached.add(plain[0])
    conditional = {n for n, reply in enumerate(LOCAL_REPLIES) if _conditional(reply)}
    assert reached | conditional == set(range(len(LOCAL_REPLIES)))


def _conditional(reply: LocalReply) -> bool:
    return bool(reply.flags or reply.cause)


def _metadata_of(reason: Reason) -> str:
    """The metadata that the contract's comment documents for a reason, on one line."""
    text = (ROOT / "protos/responsa/errors/v1/reason.proto").read_text(encoding="utf-8")
    comment = text[: text.index(f"  REASON_{reason.value} = ")].rpartition(";\n")[2]
    return " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines()).partition(
        "Metadata: "
    )[2]


@pytest.mark.parametrize(
    "error",
    [*(reply.error for reply in LOCAL_REPLIES), SERVER_GONE],
    ids=lambda error: error.reason.value,
)
def test_what_the_gateway_says_itself_is_what_the_contract_tells(error: ResponsaError) -> None:
    said = _metadata_of(error.reason)
    assert said
    parts = [] if said == "none." else said.split("; ")
    told = {key.group(): part for part in parts if (key := re.match(r"[a-z_]+", part))}
    assert set(error.metadata) <= set(told)
    for key in set(told) - set(error.metadata):
        assert "absent when the gateway refuses" in told[key], (error.reason, key)


@pytest.mark.parametrize("open_to_all", [True, False])
def test_health_and_reflection_are_open_to_callers_outside_only_where_asked(
    tmp_path: Path, open_to_all: bool
) -> None:
    config = EnvoyConfig(
        port=8080,
        endpoints=tmp_path,
        listen_address="127.0.0.1",
        standard_services=open_to_all,
    )
    found = [one for one in _dicts(json.loads(render(config))) if "match" in one]
    # Envoy uses the first route that matches.
    first = next(one for one in found if one["match"].get("prefix", "").startswith("/grpc."))
    assert ("route" in first) == open_to_all
    assert first["match"]["prefix"] == ("/grpc.health." if open_to_all else "/grpc.")


def _dicts(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield cast("dict[str, Any]", tree)
        tree = [*cast("dict[str, Any]", tree).values()]
    if isinstance(tree, list):
        for one in cast("list[Any]", tree):
            yield from _dicts(one)
