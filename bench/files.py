"""`python -m bench.files FOLDER`: whether a real instance reads or refuses real and damaged files as it should.

FOLDER has the files and `expect.jsonl`, a line for each file: {"file": its path, "expect": one of the names of `ALLOWED`, "contains": texts that the
document must have, or null}. The files go over the wire, as `responsa ingest` sends them. Lines for people go to stdout; the exit code is 1 if a file
misses what is expected of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.processes import BenchError, leave_in_order, place, running
from responsa_client import Responsa
from responsa_client.errors import DocumentRejected, ResponsaError

_READ: Final = "read"
# A damaged file is refused, or read as far as it can be.
_DAMAGED: Final = (_READ, "DOCUMENT_MALFORMED", "DOCUMENT_TYPE_MISMATCH", "DOCUMENT_TYPE_UNSUPPORTED")
ALLOWED: Final[Mapping[str, Sequence[str]]] = {
    "text": (_READ,),
    "encrypted": ("DOCUMENT_ENCRYPTED",),
    "no-text": ("DOCUMENT_EMPTY",),
    "corrupt": _DAMAGED,
    "text-or-corrupt": _DAMAGED,
}
"""What is expected of a file, and the outcomes that agree with it."""


def outcome(client: Responsa, path: Path, contains: Sequence[str]) -> str:
    """`read`, the reason of the refusal, or the text that the document should have and lacks."""
    try:
        result = client.wait(client.upload(path.read_bytes(), source_key=path.name))
    except DocumentRejected as refused:
        return refused.reason
    # A line of a PDF may end where the text goes on.
    text = " ".join(client.document_content(result.document.name).split())
    missing = [one for one in contains if " ".join(one.split()) not in text]
    return f"read without {missing[0]!r}" if missing else _READ


def main(given: Sequence[str] | None = None) -> int:
    """Upload, compare and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.files", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder with the files and expect.jsonl")
    folder: Path = parser.parse_args(given).folder
    leave_in_order()
    lines = (folder / "expect.jsonl").read_text("utf-8").splitlines()
    rows: Sequence[Mapping[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    wrong = 0
    try:
        with place() as at, running(at), Responsa(at.target, at.key) as client:
            for row in rows:
                found = outcome(client, folder / row["file"], row["contains"] or ())
                fits = found in ALLOWED[row["expect"]]
                wrong += not fits
                print(f"{'ok   ' if fits else 'WRONG'} {row['file']}: expected {row['expect']}, {found}")
    except (BenchError, ResponsaError) as error:
        print(f"The measurement could not be made: {error}", file=sys.stderr)
        return 1
    print(f"{len(rows) - wrong} of {len(rows)} files as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
