"""The tasks of `responsa up` other than starting parts."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from responsa_server.app.settings import load
from responsa_server.cli.local import up
from responsa_server.cli.local.own_docs import without_examples
from responsa_server.embedded import EmbeddedError
from responsa_server.embedded.layout import Layout
from tests.docs.reader import blocks
from tests.instance import ROOT


def test_own_documents_that_nobody_takes_do_not_hold_up_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide, key = tmp_path / "guide.md", tmp_path / "api-key"
    guide.write_text("# Guide\n\nIt begins here.\n")
    key.write_text("rsp_" + "k" * 43)
    monkeypatch.setattr(up, "DOCS_SECONDS", 0.05)  # shorter than an interpreter's start
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        variables = {
            **os.environ,
            "RESPONSA_URL": f"http://127.0.0.1:{port}",
            "RESPONSA_API_KEY_FILE": str(key),
        }
        assert up._ingest([guide], variables) == "it took longer than 0.05 seconds"  # pyright: ignore[reportPrivateUsage]


def test_own_documents_that_were_not_loaded_come_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n\nIt begins here.\n")
    layout = Layout.of(tmp_path / "home")
    layout.data.mkdir(parents=True)
    outcomes: list[str | None] = ["it took longer than 300 seconds", None]
    sent: list[tuple[str, str]] = []

    def ingest(paths: Sequence[Path], _: dict[str, str]) -> str | None:
        sent.extend((f"{path.parent.name}/{path.name}", path.read_text()) for path in paths)
        return outcomes.pop(0)

    monkeypatch.setattr(up, "_ingest", ingest)
    settings = load(home=tmp_path / "home").model_copy(update={"docs": tmp_path})
    for _ in range(3):  # the third start finds that the second has loaded all of them
        up._load_docs(settings, layout)  # pyright: ignore[reportPrivateUsage]
    loading, told, again = capsys.readouterr().out.splitlines()
    assert loading == again
    assert loading.startswith("Loading Responsa's own documents")
    assert told.startswith(
        "Responsa could not load its own documents completely (it took longer than 300 seconds)."
    )
    assert "The next start loads what is missing. To load it at once, restart Responsa." in told
    assert sent == [("docs/guide.md", "# Guide\n\nIt begins here.\n")] * 2


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
    layout = Layout.of(tmp_path)
    config = up._envoy_config(load(home=tmp_path), layout)  # pyright: ignore[reportPrivateUsage]  # a whole start takes a minute
    up._configure_envoy(config, layout)  # pyright: ignore[reportPrivateUsage]  # see above
    (listener,) = json.loads(layout.envoy_config.read_text())["static_resources"]["listeners"]
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
