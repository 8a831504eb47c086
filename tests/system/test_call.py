"""`responsa call` with a running instance: what it sends and prints, over each kind of method."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.callers import Credential, Tenant
from tests.instance import Instance

Call = Callable[..., str]


@pytest.fixture
def call(instance: Instance, tenant: Tenant) -> Call:
    """Runs the command as an administrator. Returns stdout, or for another exit code than 0 stderr."""
    key = tenant.key(Credential.ADMIN)

    def run(*words: str, code: int = 0, stdin: str = "") -> str:
        done: CompletedProcess[str] = instance.run(
            "call", *words, stdin=stdin, check=False, RESPONSA_API_KEY=key
        )
        assert done.returncode == code, done
        return done.stdout if code == 0 else done.stderr

    return run


def test_users_are_made_changed_and_listed(call: Call, tenant: Tenant) -> None:
    made = [
        call("AdminService.CreateUser", "--display-name", name, "--role", "service", "--only", "name").strip()
        for name in ("Bot", "Cot")
    ]
    bot, cot = made
    shown = call("AdminService.UpdateUser", "--name", bot, "--display-name", "Bob").splitlines()
    assert {f"name: {bot}", "display-name: Bob", "role: service"} <= set(shown)
    rows = call("AdminService.ListUsers", "--page-size", "1", "--all").splitlines()
    assert rows[0].split()[:3] == ["name", "tenant", "display-name"]
    assert {bot, cot} <= {row.split()[0] for row in rows[1:]}
    pages = json.loads(call("AdminService.ListUsers", "--page-size", "1", "--output", "json"))
    assert pages["name"].startswith("users/")
    table = csv.DictReader(call("AdminService.ListUsers", "--all", "--output", "csv").splitlines())
    assert "Bob" in {row["display_name"] for row in table}
    limited = call("AdminService.UpdateUserQuota", "--name", f"{bot}/quota", "--tokens-per-day.at-most", "7")
    assert "tokens-per-day.at-most: 7\n" in limited


def test_an_error_names_the_field_and_the_remedy(call: Call) -> None:
    wrong = call("AdminService.CreateUser", "--display-name", "Ada", "--email", "nobody", code=2)
    assert wrong.startswith("responsa: user.email: must be an e-mail address such as ada@example.org")
    assert call("AdminService.GetUser", "--name", "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10", code=2)
    assert "Did you mean AdminService.GetUser?" in call("AdminService.GetUsr", code=2)
    assert "Did you mean display_name?" in call("AuthService.GetMe", "--only", "display-nam", code=2)
    assert "responsa ingest" in call("KnowledgeService.UploadDocument", code=2)


def test_help_is_the_contracts_comment(call: Call) -> None:
    shown = call("AdminService.UpdateUser", "--help")
    assert "UpdateUser changes the fields that update_mask names" in shown
    assert "  --role user|admin|service\n" in shown
    assert "AdminService.CreateUser " in call()
    assert "AdminService" not in call("AuthService")


def test_secrets_come_from_standard_input(call: Call, instance: Instance, tenant: Tenant) -> None:
    words = ("--display-name", "Ada", "--email", f"ada@{tenant.name}.example", "--only", "name")
    user = call("AdminService.CreateUser", *words).strip()
    code = call("AuthService.CreateResetCode", "--user", user, "--only", "code")
    words = ("AuthService.ResetPassword", "--code", "-", "--new-password", "-")
    # Without a credential, too, because anyone may call the method.
    done = instance.run("call", *words, stdin=f"{code}too short\n", check=False, RESPONSA_HOME="/nowhere")
    assert (done.returncode, "new_password: " in done.stderr) == (2, True)
    done = instance.run("call", *words, stdin=f"{code}twelve quiet otters hum\n", RESPONSA_HOME="/nowhere")
    assert (done.stdout, done.stderr) == ("", "")
    refused = instance.run("call", "AuthService.GetMe", check=False, RESPONSA_HOME="/nowhere")
    assert (refused.returncode, "There is no API key" in refused.stderr) == (3, True)


def test_streams_operations_and_bytes(call: Call, instance: Instance, tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "eels.md").write_text("The eels return in May.\n")
    words = ("ingest", str(tmp_path / "eels.md"), "--collection", "rivers", "--json")
    [loaded] = instance.run(*words, RESPONSA_API_KEY=tenant.key(Credential.ADMIN)).stdout.splitlines()
    document = json.loads(loaded)["document"]["name"]
    text = call("KnowledgeService.GetDocumentContent", "--name", document, "--only", "text")
    assert "The eels return in May." in text
    original = call("KnowledgeService.GetDocumentOriginal", "--name", document, "--only", "data")
    assert original == "The eels return in May.\n"
    reread = call("KnowledgeService.ReindexDocument", "--name", document, "--wait")
    assert {"unchanged: true", f"document.name: {document}"} <= set(reread.splitlines())
    versions = call("KnowledgeService.ListDocumentVersions", "--parent", document)
    assert f"{document}/versions/1" in versions
    # A list that always has one page.
    assert "  active  " in call("KnowledgeService.ListGenerations", "--parent", "collections/rivers")
    events = call("ChatService.Ask", "--text", "When do the eels return?", "--output", "json").splitlines()
    assert json.loads(events[0])["turn"].startswith("turns/")
