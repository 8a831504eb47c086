"""The declarations of tools: what a file says wrongly, who may use a tool, and reloads."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from responsa_server.agents.config.tools import LiveTools
from responsa_server.app.tools import check_tools, read_secret
from responsa_server.domain.people import Role
from responsa_server.domain.tools import SecretPlace, ToolUnfit
from tests.instance import ROOT
from tests.unit.agents.evidence import WHO

HTTP = 'kind = "http_api"\nurl = "https://a.example/"\n'
SHIPPED = ["knowledge_search"]


def tools(folder: Path, **files: str) -> LiveTools:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return check_tools(folder)


def granted(live: LiveTools, *names: str, tenant: str = "acme", role: Role = Role.USER) -> list[str]:
    who = replace(WHO, tenant_id=tenant, role=role)
    return [one.card.id for one in live.list_granted(names, who, "guide")]


def test_some_tools_need_no_file(tmp_path: Path) -> None:
    live = tools(tmp_path)
    assert [entry.card.id for entry in live.entries()] == SHIPPED
    assert granted(live, "abacus", "knowledge_search") == SHIPPED
    assert live.endpoint("knowledge_search") == "", "a part of this server has no circuit breaker"


def test_a_declaration_is_made_into_a_tool(tmp_path: Path) -> None:
    live = tools(
        tmp_path,
        handbook="""
            kind = "knowledge_search"
            title = "the handbook"
            timeout = 5
            collections = ["handbook"]
            """,
    )
    (found,) = (entry for entry in live.entries() if entry.card.id == "handbook")
    assert (found.card.title, found.kind, found.timeout_seconds) == ("the handbook", "knowledge_search", 5.0)
    assert found.card.description, "the kind's own"
    assert live.problems() == []


def test_the_declarations_in_the_docs_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_KEY", "hunter2hunter2")
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    found = re.findall(r"^```toml\n(kind = .*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 4
    for place, text in enumerate(found):
        (tmp_path / f"n{place}.toml").write_text(text, encoding="utf-8")
    live = check_tools(tmp_path)
    problems = [str(problem) for problem in live.problems()]
    # What this one lacks is not in the page: an owner's word.
    assert [problem.partition(": ")[2][:30] for problem in problems] == [
        "secrets.token: The file ticket",
    ]
    assert {"n0", "n1", "n2"} <= {entry.card.id for entry in live.entries() if entry.usable}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('kind = "http_apy"', "x.toml: kind: there is no kind of tool “http_apy”"),
        ('title = "X"', "x.toml: kind: “kind” is missing; set it to one of “http_api”, "),
        ('title = "X"\nknd = "http_api"', "x.toml: knd: “kind” is missing, and no declaration has this key. Did you mean “kind”?"),
        (HTTP + '[parameters.a]\ntype = "strng"', "x.toml: parameters.a.type: there is no type “strng”; there are “array”, "),
        (HTTP + 'parameters = { a = { type = ["string", "nul"] } }', "x.toml: parameters.a.type: there is no type “nul”; "),
        (HTTP + '[parameters.a]\npattern = "(["', "x.toml: parameters.a.pattern: “([” is not a regular expression"),
        (HTTP + "[returns.properties.a]\nminLength = -1", "x.toml: returns.properties.a.minLength: -1 is less than"),
        (HTTP + 'query = { q = "{city}" }\n[parameters.cty]', (
            "x.toml: query.q: {city} is not a parameter; declare it as [parameters.city]. Did you "
            "mean “cty”?"
        )),
        (HTTP + '[headers]\nHost = "a"', "x.toml: headers.Host: is set by the server; remove it."),
        (HTTP + '[auth]\nbearer = "kee"\n[secrets]\nkey = { file = "x.toml" }', (
            "x.toml: auth.bearer: names the secret “kee”, which [secrets] does not declare; "
            "declare it there. Did you mean “key”?"
        )),
        (HTTP + '[secrets]\nkey = { env = "NO_SUCH_KEY" }', (
            "x.toml: secrets.key: The environment variable NO_SUCH_KEY is not set; set it, and "
            "start the server again."
        )),
        ('kind = "http_api"\nurl = "http://127.0.0.1:80/"', (
            "x.toml: url: calls to 127.0.0.1 would be refused, because its address is not public; "
            "if it is the organisation's own, write allow_private = [\"127.0.0.1\"]."
        )),
        ('kind = "mcp"\ncommand = ["/usr/bin/nopython", "-m", "x"]', (
            "x.toml: command[0]: “/usr/bin/nopython” does not exist on this machine; install the "
            "program, or correct the path."
        )),
        ('kind = "mcp"\ntimout = 5', "x.toml: timout: the kind mcp has no key “timout”. Did you mean “timeout”?"),
        ('kind = "knowledge_search"\ntimeout = "5"', "x.toml: timeout: must be a valid number, not “5”."),
        ('kind = "knowledge_search"\neffect = "twice"', "must be “none”, “idempotent” or “once”"),
        ('kind = "knowledge_search"\n[allow]\nroles = ["boss"]', "x.toml: allow.roles[0]: must be “user”, “admin” or “service”"),
        ('kind = "knowledge_search"\n[allow]\ntenant = ["a"]', "Did you mean “tenants”?"),
        ('kind = "knowledge_search"\n[secrets]\nkey = { env = "A", file = "b" }', "needs either env or file."),
        ('kind = "knowledge_search"\ndescription = "sk-abcdefghijklmnop"', "x.toml:2: has a secret; name the place"),
        ('kind = "knowledge_search"\neffect = "once"', (
            "x.toml: effect: a tool of the kind knowledge_search has the effect “none”; remove "
            "the key effect."
        )),
        ("kind = ", "x.toml:1: is not valid TOML"),
        ('kind = "knowledge_search"\npassages = 0', "x.toml: passages: must be greater than or equal to 1, not “0”."),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_place_and_remedy(tmp_path: Path, text: str, problem: str) -> None:
    live = tools(tmp_path, x=text)
    (found,) = live.problems()
    assert problem in str(found)
    assert "abcdefghijklmnop" not in str(found)
    assert [entry.card.id for entry in live.entries() if entry.usable] == SHIPPED
    assert granted(live, "x") == []


def test_a_file_with_an_impossible_name_is_reported(tmp_path: Path) -> None:
    (found,) = tools(tmp_path, Größe='kind = "knowledge_search"').problems()
    assert "is not a valid name of a tool" in str(found)


def test_a_tool_is_for_those_whom_its_declaration_allows(tmp_path: Path) -> None:
    live = tools(
        tmp_path,
        a='kind = "knowledge_search"\n[allow]\ntenants = ["rival"]',
        b='kind = "knowledge_search"\n[allow]\nroles = ["admin"]',
        c='kind = "knowledge_search"\n[allow]\nagents = ["guide"]',
        d='kind = "knowledge_search"\n[allow]\nagents = ["other"]',
    )
    asked = ("a", "b", "c", "d")
    assert granted(live, *asked) == ["c"]
    assert granted(live, *asked, tenant="rival") == ["a", "c"]
    assert granted(live, *asked, role=Role.ADMIN) == ["b", "c"]


def test_the_star_stands_for_tools_that_change_nothing_and_for_those_that_name_the_agent(
    tmp_path: Path,
) -> None:
    post = 'kind = "http_api"\nurl = "https://example.org/"\nmethod = "POST"\n'
    live = tools(
        tmp_path,
        handbook='kind = "knowledge_search"',
        hidden='kind = "knowledge_search"\n[allow]\nagents = ["other"]',
        mail=post,
        ticket=post + '[allow]\nagents = ["guide"]',
    )
    assert granted(live, "*") == ["handbook", "knowledge_search", "ticket"]
    # A tool that the agent names is used, whatever it changes.
    assert granted(live, "mail", "*")[0] == "mail"
    assert granted(live, "hidden", "*") == granted(live, "*")


def test_a_broken_file_keeps_its_last_valid_tool_and_other_tools_stay_the_same(tmp_path: Path) -> None:
    live = tools(tmp_path, x='kind = "knowledge_search"\ntitle = "one"')
    before = live.list_granted(["x", "knowledge_search"], WHO, "guide")
    assert not live.reload()
    (tmp_path / "x.toml").write_text("kind = 1")
    assert live.reload()
    assert [one.card.title for one in live.list_granted(["x"], WHO, "guide")] == ["one"]
    assert len(live.problems()) == 1
    (tmp_path / "x.toml").write_text('kind = "knowledge_search"\ntitle = "two"')
    assert live.reload()
    after = live.list_granted(["x", "knowledge_search"], WHO, "guide")
    assert [one.card.title for one in after] == ["two", "the documents"]
    assert (after[1] is before[1], live.problems()) == (True, [])
    (tmp_path / "secret").write_text("new")
    assert live.reload()
    remade = live.list_granted(["x", "knowledge_search"], WHO, "guide")
    assert (remade[0] is after[0], remade[1] is after[1]) == (False, True)
    (tmp_path / "x.toml").unlink()
    assert live.reload()
    assert granted(live, "x") == []


def test_a_secret_is_read_where_the_declaration_says_and_is_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(" secret \n")
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("TOOL_KEY", "other")
    assert read_secret(SecretPlace(file="key"), tmp_path) == "secret"
    assert read_secret(SecretPlace(env="TOOL_KEY"), tmp_path) == "other"
    for place in (SecretPlace(env="TOOL_NO_KEY"), SecretPlace(file="none"), SecretPlace(file="empty")):
        with pytest.raises(ToolUnfit) as caught:
            read_secret(place, tmp_path)
        assert (place.env or place.file) in str(caught.value)
