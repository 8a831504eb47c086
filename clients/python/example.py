"""Loads a document, searches it, and asks about it.

Usage: RESPONSA_URL=http://127.0.0.1:8080 RESPONSA_API_KEY=… python example.py
"""

from __future__ import annotations

import os
import sys

from responsa_client import Responsa, ResponsaError, turn_error

NOTES = b"# The office\n\nThe key of the bicycle shed hangs behind the green door.\n"
QUESTION = "Where does the key of the bicycle shed hang?"


def main() -> None:
    """Exit with 1 and the error's reason and remedy if a call fails."""
    try:
        with Responsa(os.environ["RESPONSA_URL"], os.environ["RESPONSA_API_KEY"]) as client:
            client.wait(client.upload(NOTES, source_key="office.md"))
            for hit in client.search("bicycle shed", top_k=3):
                print(f"{hit.score:.2f} {hit.passage.title}")
            with client.ask(QUESTION, include_deltas=True) as answer:
                for event in answer:
                    print(event.delta.text, end="", flush=True)
            print()
            if answer.terminal and (error := turn_error(answer.terminal)):
                raise error
            for citation in answer.citations:
                print(citation.title, citation.quote)
    except ResponsaError as error:
        sys.exit(f"{error} {error.remedy}")


if __name__ == "__main__":
    main()
