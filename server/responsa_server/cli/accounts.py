"""The command `responsa delete-account`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from responsa.auth.v1 import deletion_receipt_pb2
from responsa_server.cli.output import print_json, print_text, reporting, valid_text
from responsa_server.cli.session import client_settings, open_client
from responsa_server.cli.signed_in import SessionFile

HandOver = Annotated[
    str,
    typer.Option(
        "--hand-over-to",
        help="The user, as users/{uuid} or the UUID alone, who receives the collections that others can read. Default: these collections are deleted too, with all their documents.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]
Receipt = Annotated[bool, typer.Option("--json", help="Print the DeletionReceipt, as proto-JSON.")]

_COUNTED = (
    ("conversations", "conversations"),
    ("turns", "turns"),
    ("messages", "messages"),
    ("documents", "documents"),
    ("collections", "collections"),
    ("handed_over_collections", "collections handed over"),
    ("withdrawn_answers", "answers of others withdrawn"),
    ("api_keys", "API keys"),
    ("sessions", "sessions"),
    ("codes", "codes"),
    ("invitations", "invitations"),
    ("operations", "operations"),
)


def register(app: typer.Typer, name: str) -> None:
    """Add one of the commands."""
    app.command(name)({"delete-account": delete_account}[name])


def delete_account(hand_over_to: HandOver = "", yes: Yes = False, json: Receipt = False) -> None:
    """Delete your account with all that belongs to it. This cannot be undone. Sign in with `responsa login` first: the call needs a sign-in of the last ten minutes."""
    with reporting(json=json), open_client() as client:
        me = client.me()
        ask(f"your account {me.email or me.display_name} ({me.name})", hand_over_to, yes=yes)
        receipt = client.delete_me(valid_text(hand_over_to, "The user"))
        # The session has ended with the account.
        with contextlib.suppress(OSError):
            SessionFile(client_settings().server_url).take()
        print_receipt(receipt, json=json)


def ask(what: str, hand_over_to: str, *, yes: bool) -> None:
    """Ask whether to delete a user, unless `yes`. Ends the command if the reply is not yes."""
    if not yes:
        shared = (
            f"The collections that others can read go to {hand_over_to}."
            if hand_over_to
            else "Collections that others can read are deleted too, with the documents of others in them."
        )
        typer.echo(
            f"This permanently deletes {what}, with all conversations, documents and keys. {shared}", err=True
        )
        typer.confirm("Continue?", abort=True, err=True)


def print_receipt(receipt: deletion_receipt_pb2.DeletionReceipt, *, json: bool) -> None:
    """Print what was deleted, one line for each kind."""
    if json:
        print_json(receipt)
        return
    print_text(f"Deleted {receipt.user}.")
    for field, words in _COUNTED:
        if count := getattr(receipt, field):
            print_text(f"{count:>8}  {words}")
    if not receipt.HasField("complete_time"):
        print_text(
            "Answers of other users that are being written are checked for quotes of the documents when they end."
        )
