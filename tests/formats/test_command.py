"""`python -m responsa_formats` parses a file confined, and prints what it reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from responsa_formats import __main__ as command
from responsa_formats.sandbox.confinement import SandboxCapabilities

MAIL = b"Subject: The mill\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nIt grinds.\n--b\nContent-Type: image/png\n\nx\n--b--\n"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command that has ended."""
    whole = [sys.executable, "-m", "responsa_formats", *arguments]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def test_it_prints_blocks_places_and_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("city;price\nBonn;4\n")
    assert (
        run(tmp_path / "a.csv").stdout == "title: a\nformat: CSV\n\n[table, row 2]\ncity: Bonn | price: 4\n"
    )
    (tmp_path / "mail").write_bytes(MAIL)
    printed = run(tmp_path / "mail", "--type", "message/rfc822", "--json").stdout
    document = json.loads(printed)
    assert (document["title"], document["format"]) == ("The mill", "EML")
    assert document["left_out"] == {"embedded_file": 1}
    assert "It grinds." in document["canonical_text"]


def test_a_document_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"The mill \x1b[2Jgrinds, and the wheel turns.\n")
    assert "The mill \ufffd[2Jgrinds" in run(tmp_path / "a.txt").stdout


def test_errors_have_codes_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(" ")
    rejected = run(tmp_path / "a.md")
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert rejected.stderr.startswith("responsa_formats: The document has no text.")
    missing = run(tmp_path / "b.md")
    assert (missing.returncode, "No such file" in missing.stderr) == (2, True)
    assert run().returncode == 2
    assert "responsa_formats: " in (named := run(tmp_path / "\x1b[2J.md").stderr)
    assert "\x1b" not in named


def test_an_output_that_cannot_be_written_is_no_rejection(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The mill.")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "responsa_formats", tmp_path / "a.md"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "No space left" in done.stderr


def test_nothing_is_parsed_without_confinement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("The mill.")
    monkeypatch.setattr(command, "capabilities", lambda: SandboxCapabilities(0, seccomp=True))
    monkeypatch.setattr(sys, "argv", ["responsa_formats", str(tmp_path / "a.md")])
    assert command.main() == 3
    assert "this kernel lacks Landlock" in capsys.readouterr().err
