"""A folder of mixed files is loaded by one command that is killed three times. In the end, every file is accounted for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from responsa_formats.parsers.office_samples import DOCX
from responsa_server.ingest.formats import FORMATS
from tests.callers import Credential, Tenant
from tests.forked import responsa
from tests.formats.printed_pages import pdf
from tests.instance import Instance
from tests.transports import Json, Ways

NOTES = 40
"""So many small files that a command which is killed after a file still has files to load."""
READ = "READ"
REASONS = {
    "encrypted": {"DOCUMENT_ENCRYPTED"},
    "no-text": {"DOCUMENT_EMPTY"},
    "corrupt": {READ, "DOCUMENT_EMPTY", "DOCUMENT_MALFORMED", "DOCUMENT_PARSER_LIMIT", "DOCUMENT_TYPE_MISMATCH"},
    "text": {READ},
    "text-or-corrupt": {READ, "DOCUMENT_MALFORMED"},
}  # fmt: skip
"""What may become of a file of the public data set, by its field `expect`."""


def mixed(folder: Path) -> dict[str, str]:
    """Write the files. Returns what becomes of each by its source key: READ, the reason of a refusal, or the rule for skipping it."""
    outcomes: dict[str, str] = {}

    def write(name: str, data: bytes, outcome: str = READ) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        outcomes[f"{folder.name}/{name}"] = outcome

    for row in FORMATS:
        write(f"formats/{row.name.lower()}.{row.suffixes[0]}", row.sample)
    for number in range(NOTES):
        write(f"notes/{number}.md", f"# Note {number}\n\nThe keeper of lamp {number} counts boats.".encode())
    write("picture.md", b"\x89PNG\r\n\x1a\n" + bytes(64), "DOCUMENT_TYPE_MISMATCH")
    write("word.pdf", DOCX, "DOCUMENT_TYPE_MISMATCH")
    write("cut.docx", DOCX[:200], "DOCUMENT_MALFORMED")
    write("scan.pdf", pdf([]), "DOCUMENT_EMPTY")
    write("deep.json", b"[" * 100_000, "DOCUMENT_PARSER_LIMIT")
    write("wide.csv", b"," * 1_000_000, "DOCUMENT_PARSER_LIMIT")
    write("nothing.txt", b"", "EMPTY")
    write("tune.mp3", b"ID3", "UNSUPPORTED_SUFFIX")
    write(".hidden.md", b"hidden", "HIDDEN")
    (folder / "out.md").symlink_to("/etc/hostname")
    outcomes[f"{folder.name}/out.md"] = "LINK"
    write("old.zip", b"PK", "UNSUPPORTED_SUFFIX")
    return outcomes


def loading(instance: Instance, tenant: Tenant, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*responsa(), "ingest", str(folder), "--collection", "mixed", "--json"],
        env={**instance.environment, "RESPONSA_API_KEY": tenant.key()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def outcome_of(line: Json) -> str:
    match line["outcome"]:
        case "FAILED":
            return str(line["error"]["details"][0]["reason"])
        case "SKIPPED":
            return str(line["rule"])
        case _:
            return READ


def loaded(instance: Instance, tenant: Tenant, folder: Path) -> Mapping[str, str]:
    """What becomes of each file, after the command was killed when it had loaded a file."""
    with loading(instance, tenant, folder) as command:
        assert command.stdout is not None
        assert any(json.loads(line)["outcome"] == "NEW" for line in command.stdout)
        assert command.poll() is None, "it ended before it was killed"
        command.kill()
    with loading(instance, tenant, folder) as command:
        assert command.stdout is not None
        lines = [json.loads(line) for line in command.stdout]
    assert command.returncode == 1, "some files are refused"
    assert {"NEW", "UNCHANGED"} <= {line["outcome"] for line in lines}
    found = {line["sourceKey"]: outcome_of(line) for line in lines}
    assert len(found) == len(lines), "a file was reported twice"
    return found


def documents(ways: Ways, headers: dict[str, str]) -> dict[str, Json]:
    request = {"parent": "collections/mixed", "filter": "state = READY", "pageSize": 200}
    answered = ways.call("KnowledgeService/ListDocuments", request, headers).message
    return {one["sourceKey"]: one for one in answered["documents"]}


def test_every_file_is_accounted_for(instance: Instance, tenant: Tenant, ways: Ways, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    expected = mixed(folder)
    assert dict(loaded(instance, tenant, folder)) == expected
    headers = tenant.headers(Credential.USER)
    ready = documents(ways, headers)
    assert set(ready) == {key for key, outcome in expected.items() if outcome == READ}
    assert {one["version"] for one in ready.values()} == {1}, "a file was read twice"


def test_the_public_files_are_read_or_refused_as_expected(
    instance: Instance, tenant: Tenant, ways: Ways, tmp_path: Path, shared_data: Path | None
) -> None:
    if shared_data is None or not (shared_data / "files").is_dir():
        pytest.skip(
            "needs the public data set `files` next to the checkout, which is no part of it: no other run has it"
        )
    entries = [json.loads(line) for line in (shared_data / "files" / "expect.jsonl").read_text().splitlines()]
    (tmp_path / "raw").symlink_to(shared_data / "files" / "raw")
    with loading(instance, tenant, tmp_path / "raw") as command:
        assert command.stdout is not None
        found = {one["sourceKey"]: outcome_of(one) for one in map(json.loads, command.stdout)}
    headers = tenant.headers(Credential.USER)
    ready = documents(ways, headers)
    for entry in entries:
        outcome = found[entry["file"]]
        assert outcome in REASONS[entry["expect"]], entry
        assert (outcome == READ) is (entry["file"] in ready)
        if outcome == READ:
            request = {"name": ready[entry["file"]]["name"]}
            pieces = ways.call("KnowledgeService/GetDocumentContent", request, headers).messages
            text = " ".join("".join(piece["text"] for piece in pieces).split())
            assert all(" ".join(wanted.split()) in text for wanted in entry["contains"]), entry
