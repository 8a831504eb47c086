"""The tasks of `responsa up` other than starting parts."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from pathlib import Path

import pytest

from responsa_local.commands import up
from responsa_local.commands.envoy import envoy_config
from responsa_local.commands.lan import lan_variables
from responsa_local.commands.own_docs import OwnDocs, without_examples
from responsa_local.embedded import EmbeddedError
from responsa_local.embedded.layout import LocalLayout
from responsa_local.envoy.envoy_config import render
from responsa_server.app.settings import load
from tests.docs.reader import blocks
from tests.instance import ROOT


def test_own_documents_that_were_not_loaded_come_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n\nIt begins here.\n")
    layout = LocalLayout.of(tmp_path / "home")
    for folder in (layout.data, layout.logs):
        folder.mkdir(parents=True)
    docs = OwnDocs(layout, tmp_path, "http://127.0.0.1:1")
    docs.launch()
    assert docs.process is not None
    *_, page = docs.process.args  # type: ignore[misc]
    assert Path(page).read_text() == "# Guide\n\nIt begins here.\n"  # type: ignore[arg-type]
    assert docs.process.wait() != 0  # there is no key
    docs.stop()
    assert not Path(page).exists()  # type: ignore[arg-type]
    docs.on_end(1)
    loading, told = capsys.readouterr().out.splitlines()
    assert loading.startswith("Loading Responsa's own documents")
    assert told.startswith("Responsa could not load its own documents completely (")
    assert "The next start loads what is missing. To load it at once, restart Responsa." in told
    docs.on_end(0)
    OwnDocs(layout, tmp_path, "http://127.0.0.1:1").launch()  # it finds that all of them are loaded
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ("```text\n12 seats are left.\n```\n", ""),
        ("```sh exit=2\nresponsa status\n```\n", None),
        ("```toml .responsa/tools/seats.toml\nkind = 1\n```\n", None),
        ("```json\n{}\n```\n", None),
        ("```md rules.md\n# House rules\n```\n", ""),
        ('```json box-office/hamlet.json\n{"tonight": "12 seats are left."}\n```\n', ""),
        ("```md .responsa/agents/desk/prompts/explain.md\nYou are a librarian.\n```\n", None),
        (
            "```console exit=2\n$ responsa search \\\n> boat\nnothing\n$ responsa help\n> quoted\n```\n",
            "```console exit=2\n$ responsa search \\\n> boat\n$ responsa help\n> quoted\n```\n",
        ),
    ],
)
def test_own_documents_are_loaded_without_their_examples(block: str, kept: str | None) -> None:
    page = "# A page\n\nIt prints:\n\n{}\nMore.\n\n{}"
    loaded = block if kept is None else kept
    assert without_examples(page.format(block, block)) == page.format(loaded, loaded)


def test_no_output_of_the_docs_is_loaded() -> None:
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        left = [block.kind for block in blocks(without_examples(page))]
        assert "text" not in left
        assert left.count("sh") == [block.kind for block in blocks(page)].count("sh")
    assert "12 seats are left" not in "".join(map(without_examples, pages))


@pytest.mark.parametrize("most", ["", "7"])
def test_envoy_limits_the_connections_of_an_address_as_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    if most:
        monkeypatch.setenv("RESPONSA_LIMITS__ADDRESS__CONNECTIONS", most)
    else:
        monkeypatch.delenv("RESPONSA_LIMITS__ADDRESS__CONNECTIONS", raising=False)
    layout = LocalLayout.of(tmp_path)
    config = envoy_config(load(home=tmp_path), layout.replicas, layout.envoy_admin_socket)
    (listener,) = json.loads(render(config))["static_resources"]["listeners"]
    first = listener["filter_chains"][0]["filters"][0]
    assert first["typed_config"]["config"]["configuration"]["value"] == (most or "500")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("allowed_hosts", ("https://chat.example.org",)),
        ("allowed_origins", ("chat.example.org",)),
        ("listen", "localhost"),
    ],
)
def test_a_setting_that_envoy_cannot_use_is_named_before_any_part_starts(
    setting: str, value: object, tmp_path: Path
) -> None:
    settings = load(home=tmp_path / "home").model_copy(update={setting: value})
    with pytest.raises(EmbeddedError, match=f"{setting}: .*correct the setting"):
        up.run(settings)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("RESPONSA_ENVIRONMENT", "production", "--lan is for a trial"),
        ("RESPONSA_SESSIONS__SECURE_COOKIE", "true", "people connect over TLS"),
        ("RESPONSA_LISTEN", "0.0.0.0", "already 0.0.0.0"),
    ],
)
def test_a_trial_in_a_network_is_refused_where_tls_or_another_address_is_set(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EmbeddedError, match=why):
        lan_variables(load())


def test_a_trial_in_a_network_listens_at_one_private_address_and_at_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_ALLOWED_HOSTS", "chat.example.org")
    try:
        variables = lan_variables(load())
    except EmbeddedError as error:  # a machine in no private network
        assert "network" in str(error)  # noqa: PT017  it is what such a machine prints
        return
    address = variables["RESPONSA_LISTEN"]
    assert ipaddress.ip_address(address).is_private
    for setting, text in variables.items():
        monkeypatch.setenv(setting, text)
    settings = load()
    assert settings.allowed_hosts == ("chat.example.org", address)
    config = replace(envoy_config(settings, tmp_path / "replicas"), also_loopback=True)
    [listener] = json.loads(render(config))["static_resources"]["listeners"]
    places = [listener, *listener["additional_addresses"]]
    assert [one["address"]["socket_address"]["address"] for one in places] == [address, "127.0.0.1"]
