"""An account from its registration to its end, on a real instance with a mail server: on the command line, with the
Python client, and over REST."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from responsa_client import Responsa
from responsa_client.errors import NotFound
from tests.callers import PASSWORD, Credential, Registry, Tenant
from tests.gateway.wire import OWN
from tests.instance import Instance
from tests.wire.smtp import MailServer

OTHER = "seven purple walruses hum"


@pytest.fixture
def tenant(registry: Registry) -> Tenant:
    return registry.new_tenant()


@pytest.fixture
def responsa(instance: Instance, tmp_path: Path) -> Callable[..., str]:
    """Runs a command without an API key, with sessions in a folder of this test. Returns its standard output."""

    def run(*arguments: str, stdin: str = "", check: bool = True) -> str:
        done = instance.run(
            *arguments,
            stdin=stdin,
            check=False,
            RESPONSA_HOME=str(tmp_path / "nowhere"),
            XDG_STATE_HOME=str(tmp_path / "state"),
        )
        assert (done.returncode == 0) is check, done.stderr
        return done.stdout if check else done.stderr

    return run


def test_an_account_on_the_command_line(
    instance: Instance, tenant: Tenant, mail_server: MailServer, responsa: Callable[..., str]
) -> None:
    email = f"ann@{tenant.name}.example"
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as admin:
        code = admin.create_invitation().code
        register = ("call", "AuthService.Register", "--email", email, "--invitation", "-", "--password", "-")
        assert responsa(*register, stdin=f"{code}\n{PASSWORD}\n") == ""
        login = ("login", "--email", email, "--tenant", tenant.name)
        responsa(*login, stdin=f"{PASSWORD}\n", check=False)
        (mail,) = mail_server.to(email)
        confirm = ("call", "AuthService.ConfirmEmail", "--code", "-", "--password", "-")
        assert " ".join(confirm) in mail.text
        kept = responsa(*confirm, stdin=f"{mail.code}\n\n", check=False)
        assert "must be the password of the registration" in kept
        responsa(*confirm, stdin=f"{mail.code}\n{PASSWORD}\n")
        assert email in responsa(*login, stdin=f"{PASSWORD}\n")

        change = ("call", "AuthService.ChangePassword", "--current-password", "-", "--new-password", "-")
        responsa(*change, stdin=f"{PASSWORD}\n{OTHER}\n")
        asked = responsa("call", "AuthService.RequestReset", "--email", email, "--tenant", tenant.name)
        (mail,) = [one for one in mail_server.to(email, 3) if "rsx_" in one.text]
        assert code not in asked
        reset = ("call", "AuthService.ResetPassword", "--code", "-", "--new-password", "-")
        assert " ".join(reset) in mail.text
        responsa(*reset, stdin=f"{mail.code}\n{PASSWORD}\n")
        assert "sign in" in responsa("call", "AuthService.GetMe", check=False).lower()
        assert email in responsa(*login, stdin=f"{PASSWORD}\n")

        me = admin.lookup_user(email)
        receipt = responsa("call", "AuthService.DeleteMe")
        assert receipt.startswith(f"user: {me.name}\n")
        assert "sessions: " in receipt
        with pytest.raises(NotFound):
            admin.user(me.name)
        again = admin.delete_user(me.name)
        assert again.user == me.name
        assert again.HasField("complete_time")
        acts = [
            (audit_event.action, audit_event.actor)
            for audit_event in admin.audit_events(f'resource = "{me.name}"')
        ]
        assert ("user.delete", me.name) in acts
        assert ("user.register", me.name) in acts


def test_an_account_over_rest(instance: Instance, tenant: Tenant, mail_server: MailServer) -> None:
    email = f"bob@{tenant.name}.example"
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as admin:
        code = admin.create_invitation().code
    with httpx2.Client(base_url=instance.url, headers=OWN, timeout=30) as http:
        body = {"invitation": code, "email": email, "password": PASSWORD, "displayName": "Bob"}
        assert http.post("/v1/auth:register", json=body).json() == {}
        (mail,) = mail_server.to(email)
        assert f"http://localhost:{instance.port}/?tenant={tenant.name}#/confirm={mail.code}" in mail.text
        assert http.post("/v1/auth:confirmEmail", json={"code": mail.code, "password": PASSWORD}).json() == {}
        signed = {"tenant": tenant.name, "email": email, "password": PASSWORD}
        assert http.post("/v1/sessions", json=signed).status_code == 200
        assert http.post("/v1/conversations", json={}).status_code == 200
        receipt = http.delete("/v1/users/me").json()
        assert (receipt["conversations"], receipt["sessions"]) == ("1", "1")
        assert "completeTime" in receipt
        assert http.get("/v1/users/me").status_code == 401
        assert http.post("/v1/auth:login", json=signed).status_code == 401
