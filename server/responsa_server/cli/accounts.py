"""The commands `responsa register`, `confirm`, `password`, `reset-password` and `delete-account`."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from responsa.auth.v1 import deletion_receipt_pb2
from responsa_server.cli.login import asked, asked_secret, public_client
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    print_error,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.session import client_settings, open_client
from responsa_server.cli.signed_in import SessionFile

HandOver = Annotated[
    str,
    typer.Option(
        "--hand-over-to",
        help="The user who receives your shared collections: those that other users can read, and those that hold documents of other users. Give users/{uuid}, the UUID alone, or the e-mail address. Default: all collections are deleted; the server refuses this as long as they hold documents of others.",
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
    commands = {
        "register": register_account,
        "confirm": confirm,
        "password": change_password,
        "reset-password": reset_password,
        "delete-account": delete_account,
    }
    app.command(name)(commands[name])


def register_account(
    email: Annotated[
        str,
        typer.Option(
            help="The e-mail address. Default: the command asks for it; empty if the invitation names it."
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="The name to show to people.")] = "",
    tenant: Annotated[
        str,
        typer.Option(
            help="The tenant. Default: the tenant of the invitation, or the server's default tenant."
        ),
    ] = "",
    invited: Annotated[bool, typer.Option("--invited", help="Prompt for the code of an invitation.")] = False,
) -> None:
    """Create an account. The command asks for the code of the invitation (with --invited) and for the password, without showing them. Without a terminal, it reads them from
    the lines of standard input, in this order.
    """
    with reporting():
        address = email or (
            ""
            if invited
            else asked("E-mail address: ", "There is no e-mail address.", "Give it with --email.")
        )
        code = asked_secret("Code of the invitation", "code") if invited else ""
        password = _new_password()
        with public_client(client_settings().server_url) as client:
            client.register(
                valid_text(address, "The e-mail address"),
                password,
                valid_text(name, "The name"),
                invitation=valid_text(code, "The code").strip(),
                tenant=tenant,
            )
        print_text(
            "Registered. If you get a mail with a code, run `responsa confirm`. Then sign in with `responsa login`."
        )


def confirm() -> None:
    """Confirm an e-mail address with the code of a mail. The command asks for the code and for your password. For a new account, this is the password
    that you registered with. Without a terminal, it reads them from the first two lines of standard input.
    """
    with reporting():
        code = asked_secret("Code", "code")
        password = asked_secret("Password", "password", optional=True)
        with public_client(client_settings().server_url) as client:
            client.confirm_email(valid_text(code, "The code").strip(), valid_text(password, "The password"))
        print_text("Confirmed.")


def change_password() -> None:
    """Change your password, and end your other sessions. The command asks for the present password (leave it empty if no password is set) and for the new one.
    Without a terminal, it reads them from the first two lines of standard input.
    """
    with reporting(), open_client() as client:
        current = asked_secret("Present password", "present password", optional=True)
        client.change_password(valid_text(current, "The password"), _new_password())
        print_text("The password was changed.")


def reset_password(
    email: Annotated[
        str,
        typer.Option(
            help="The e-mail address of your account. The server mails a code to this address. Leave it out if you have a code already."
        ),
    ] = "",
    tenant: Annotated[str, typer.Option(help="The tenant. Default: the server's default tenant.")] = "",
) -> None:
    """Set a new password with a code. With --email, ask for a mail with the code; without it, the command asks for the code and the new password. Without a terminal, it
    reads them from the first two lines of standard input.
    """
    with reporting(), public_client(client_settings().server_url) as client:
        if email:
            client.request_reset(valid_text(email, "The e-mail address"), tenant)
            print_text(
                "If an account has this address, a mail with a code is on its way. Then run `responsa reset-password`."
            )
        else:
            code = asked_secret("Code", "code")
            client.reset_password(valid_text(code, "The code").strip(), _new_password())
            print_text("The password was changed. Sign in with `responsa login`.")


def _new_password() -> str:
    password = valid_text(asked_secret("New password", "new password"), "The password")
    if sys.stdin.isatty() and asked_secret("New password, again", "new password") != password:
        raise CommandFailed("The two passwords differ.", "Type the same password twice.", EXIT_USAGE)
    return password


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
        if notice := client_settings().next_credential():
            print_error(notice)


def ask(what: str, hand_over_to: str, *, yes: bool) -> None:
    """Ask whether to delete a user, unless `yes`. Raises CommandFailed if the reply is not yes."""
    if not yes:
        shared = (
            f"The collections that others can read, or that hold documents of others, go to {hand_over_to}."
            if hand_over_to
            else "Collections that others can read are deleted too."
        )
        typer.echo(
            f"This permanently deletes {what}, with all conversations, documents and keys. {shared}", err=True
        )
        try:
            agreed = typer.confirm("Continue?", err=True)
        except typer.Abort:  # Ctrl-C, Ctrl-D, or no terminal
            agreed = False
        if not agreed:
            raise CommandFailed("Nothing was deleted.", "Answer y, or give --yes.")


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
            "When unfinished answers of other users end, the server checks them for quotes of the deleted documents."
        )
