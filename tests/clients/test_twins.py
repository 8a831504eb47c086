"""The two clients: the blocking client, and the calls that need no special code, are generated."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

import responsa_client
from responsa.auth.v1 import user_pb2
from responsa_client import AsyncResponsa, AsyncTurnStream, Responsa, TurnStream
from responsa_client.requests import update_user_limits, update_user_quota
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ADMIN,
    Scripted,
)
from tests.instance import ROOT
from tools.clients.plan import Retry, read
from tools.clients.python import files, method_name


def test_the_generated_part_is_fresh() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make packages`"


def test_every_call_of_the_contract_has_a_method() -> None:
    methods = [method.name for service in read().services for method in service.methods]
    assert [name for name in map(method_name, methods) if not hasattr(AsyncResponsa, name)] == []


def test_both_take_the_same_arguments() -> None:
    for one, other in ((AsyncResponsa, Responsa), (AsyncTurnStream, TurnStream)):
        names = [name for name in dir(one) if not name.startswith("_") and callable(getattr(one, name))]
        assert names == [
            name for name in dir(other) if not name.startswith("_") and callable(getattr(other, name))
        ]
        for name in names:
            ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (one, other))
            assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_the_blocking_client_awaits_nothing() -> None:
    for path in (ROOT / "clients" / "python" / "responsa_client" / "blocking").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import asyncio" not in text, path
        assert "await " not in text, path
        assert "async def" not in text, path


def test_the_errors_that_the_docstrings_name_exist() -> None:
    seen: set[str] = set()
    for name, method in inspect.getmembers(AsyncResponsa, inspect.isfunction):
        text = inspect.getdoc(method) or ""
        sections = re.findall(r"Raises:\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
        named = {
            error
            for section in sections
            for names in re.findall(r"^    (\w[\w, ]*):", section, re.MULTILINE)
            for error in names.split(", ")
        }
        named |= {
            error
            for names in re.findall(r"Raises ([A-Z]\w+(?:, [A-Z]\w+)*)", text)
            for error in names.split(", ")
        }
        for error in named:
            assert hasattr(responsa_client, error) or hasattr(builtins, error), f"{name}: {error}"
        seen |= named
    assert {"InvalidRequest", "NotFound", "ValueError"} <= seen


def test_limits_that_do_not_exist_are_refused_before_the_call() -> None:
    for name in ("etag", "usage", "dreams"):
        with pytest.raises(ValueError, match=name):
            update_user_quota("users/1", {name: 1}, (), "")
        with pytest.raises(ValueError, match=name):
            update_user_limits("users/1", {name: None})


def test_what_the_plan_says_about_repeating_calls() -> None:
    retries = {method.name: method.retry for service in read().services for method in service.methods}
    assert {retries[name] for name in ("GetUser", "CreateUser", "Search", "Logout")} == {Retry.ALWAYS}
    assert {retries[name] for name in ("UpdateUser", "DisableUser")} == {Retry.WITHOUT_ETAG}
    # A second login is a second session, and the second response for a key has no secret.
    assert {retries[name] for name in ("Login", "CreateApiKey", "DeleteTeacher")} == {Retry.NEVER}


async def test_an_update_names_what_was_given(server: Scripted, driver: Driver) -> None:
    server.reply(f"{ADMIN}/UpdateUser", user_pb2.User())
    await driver.call("update_user", "1", email="", role=user_pb2.USER_ROLE_ADMIN)
    (asked,) = server.requests[f"{ADMIN}/UpdateUser"]
    assert asked.user == user_pb2.User(name="users/1", role=user_pb2.USER_ROLE_ADMIN)
    assert list(asked.update_mask.paths) == ["email", "role"]
