"""The paths of the systems that Responsa replaces, on a real instance behind Envoy: each path, its errors, and one journey."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

import httpx2
import pytest

from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_server.calls.authorisation import RULES
from responsa_server.transports.http.original_paths.rows import OriginalRow
from responsa_server.transports.http.original_paths.serving import ROWS
from tests.callers import PASSWORD, Credential, Registry, Tenant
from tests.instance import Instance

USER: Final = {"id", "email", "name", "role", "is_active", "created_at"}


@pytest.fixture
def tenant(registry: Registry) -> Tenant:
    return registry.new_tenant()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def admin(tenant: Tenant) -> dict[str, str]:
    return tenant.headers(Credential.ADMIN)


def wrong(reply: httpx2.Response) -> tuple[int, str]:
    """The status and the code of an error, whose whole shape is checked."""
    body = reply.json()
    assert set(body) <= {"detail", "code", "errors"}
    assert isinstance(body["detail"], str)
    assert all(set(one) == {"field", "message"} for one in body.get("errors", []))
    assert "set-cookie" not in reply.headers
    assert reply.headers["x-request-id"]
    return reply.status_code, body["code"]


def fields(reply: httpx2.Response) -> list[str]:
    assert wrong(reply) == (400, "INVALID_FIELD")
    return [one["field"] for one in reply.json()["errors"]]


def test_the_journey_of_a_person(instance: Instance, http: httpx2.Client, tenant: Tenant) -> None:
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as administrator:
        email = f"new@{tenant.name}.example"
        code = administrator.create_invitation(email=email).code
    reply = http.post(
        "/auth/register", json={"email": email, "password": PASSWORD, "name": "New", "invitation": code}
    )
    assert (reply.status_code, reply.json()) == (201, {"email": email, "name": "New"})

    reply = http.post("/auth/login", json={"email": email, "password": PASSWORD, "tenant": tenant.name})
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert "set-cookie" not in reply.headers
    tokens = reply.json()
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert tokens["token_type"] == "bearer"
    assert 880 < tokens["expires_in"] <= 900
    assert set(tokens["user"]) == USER

    mine = bearer(tokens["access_token"])
    me = http.get("/users/me", headers=mine)
    assert (me.status_code, me.json()) == (200, tokens["user"])
    assert (me.json()["email"], me.json()["name"], me.json()["role"], me.json()["is_active"]) == (email, "New", "user", True)  # fmt: skip
    for method, name in (("PATCH", "Newer"), ("PUT", "Newest")):
        changed = http.request(method, "/users/me", json={"name": name}, headers=mine)
        assert (changed.status_code, changed.json()) == (200, {**tokens["user"], "name": name})
    # The session is the same one that the contract shows, with the program that began it.
    (session,) = http.get("/v1/users/me/sessions", headers=mine).json()["sessions"]
    assert "httpx" in session["userAgent"]

    again = http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert again.status_code == 200
    following = again.json()
    assert set(following) == {"access_token", "refresh_token", "token_type", "expires_in"}
    reply = http.post("/auth/logout", json={"refresh_token": following["refresh_token"]})
    assert (reply.status_code, reply.content) == (204, b"")
    assert wrong(http.get("/users/me", headers=bearer(following["access_token"])))[0] == 401
    assert wrong(http.post("/auth/refresh", json={"refresh_token": following["refresh_token"]})) == (401, "TOKEN_INVALID")  # fmt: skip


def test_an_access_token_alone_ends_its_session(http: httpx2.Client, tenant: Tenant) -> None:
    credentials = {"email": f"user@{tenant.name}.example", "password": PASSWORD, "tenant": tenant.name}
    tenant.headers(Credential.TOKEN)  # sets the password
    first, second, other = (http.post("/auth/login", json=credentials).json() for _ in range(3))
    for ended, body in ((first, None), (second, {})):
        mine = bearer(ended["access_token"])
        reply = http.post("/auth/logout", json=body, headers=mine)
        assert (reply.status_code, reply.content) == (204, b"")
        assert wrong(http.get("/users/me", headers=mine))[0] == 401
        assert wrong(http.post("/auth/refresh", json={"refresh_token": ended["refresh_token"]}))[0] == 401
        assert wrong(http.post("/auth/logout", headers=mine)) == (401, "TOKEN_INVALID")
    # No other session ends, and a key has none.
    assert http.get("/users/me", headers=bearer(other["access_token"])).status_code == 200
    assert fields(http.post("/auth/logout", headers=bearer(tenant.key()))) == ["refresh_token"]
    events = http.get("/v1/auditEvents", headers=admin(tenant)).json()["auditEvents"]
    assert sum(event["action"] == "session.end" for event in events) >= 2


def test_an_administrator_sees_and_disables_users(http: httpx2.Client, tenant: Tenant) -> None:
    key = tenant.key()
    listed = http.get("/users", headers=admin(tenant)).json()
    assert listed["next_page_token"] is None
    assert {one["email"].partition("@")[0] for one in listed["users"]} == {"admin", "user"}
    assert all(set(one) == USER for one in listed["users"])
    first = http.get("/users?limit=1", headers=admin(tenant)).json()
    second = http.get(
        "/users", params={"limit": 1, "page_token": first["next_page_token"]}, headers=admin(tenant)
    ).json()
    assert [*first["users"], *second["users"]] == listed["users"]

    (user,) = [one for one in listed["users"] if one["role"] == "user"]
    assert http.get(f"/users/{user['id']}", headers=admin(tenant)).json() == user
    assert http.get(f"/users/email/{user['email'].upper()}", headers=admin(tenant)).json() == user
    disabled = http.post(f"/users/{user['id']}/disable", headers=admin(tenant))
    assert (disabled.status_code, disabled.json()) == (200, {**user, "is_active": False})
    assert wrong(http.get("/users/me", headers=bearer(key))) == (401, "USER_DISABLED")
    assert http.post(f"/users/{user['id']}/enable", headers=admin(tenant)).json() == user
    assert http.get("/users/me", headers=bearer(key)).json() == user
    assert wrong(http.post("/users/me/disable", headers=admin(tenant)))[0] == 400
    # A key alone does not delete its own user.
    assert wrong(http.delete("/users/me", headers=bearer(key))) == (403, "SIGN_IN_REQUIRED")
    assert http.delete(f"/users/{user['id']}", headers=admin(tenant)).status_code == 204
    assert wrong(http.get(f"/users/{user['id']}", headers=admin(tenant))) == (404, "RESOURCE_NOT_FOUND")


def test_a_record_a_question_and_its_feedback(
    instance: Instance, http: httpx2.Client, tenant: Tenant
) -> None:
    mine = tenant.headers(Credential.USER)
    me = http.get("/users/me", headers=mine).json()["id"]
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as administrator:
        administrator.create_collection("records", readers=[reader_pb2.Reader(everyone=True)])
        text = "# Skills\n\nThe member reads nautical maps well."
        operation = administrator.create_document(
            text,
            source_key="skills.md",
            collection="records",
            title="Skills",
            subject=f"users/{me}",
            metadata={"level": 7},
        )
        administrator.wait(operation)
        job = operation.name.partition("/")[2]
    assert http.get(f"/jobs/{job}", headers=mine).json() == {
        "id": job,
        "state": "done",
        "error": None,
        "progress": None,
        "result": None,
    }

    profile = http.get(f"/users/{me}/profile", headers=admin(tenant)).json()
    assert (profile["user_id"], profile["subject"], profile["document_count"]) == (me, f"users/{me}", 1)
    (part,) = profile["sources"]
    (document,) = part["documents"]
    assert (part["source"], part["failed_rows"], part["job_id"]) == (None, 0, None)
    assert (document["title"], document["metadata"], document["state"]) == ("Skills", {"level": 7}, "ready")
    for user in ("me", me):
        own = http.get(f"/users/{user}/documents", headers=mine).json()
        assert own == {"documents": [{**document, "source": None}], "document_count": 1}
    # No source has a query for one subject.
    for what in ("reprocess", "test-completed"):
        for body in (dict[str, object](), None):
            notified = http.post(f"/users/{me}/{what}", headers=admin(tenant), json=body)
            assert (notified.status_code, notified.json()) == (202, {"jobs": []})
    assert wrong(http.post("/users/me/reprocess", headers=mine, json={})) == (403, "ROLE_REQUIRED")
    nobody = f"/users/{uuid.UUID(int=7)}/reprocess"
    assert wrong(http.post(nobody, headers=admin(tenant), json={})) == (404, "RESOURCE_NOT_FOUND")
    other = http.get("/users/me", headers=admin(tenant)).json()["id"]
    assert wrong(http.get(f"/users/{other}/profile", headers=mine)) == (404, "RESOURCE_NOT_FOUND")

    asked = {"question": "Who reads nautical maps well?", "conversation_id": "new"}
    reply = http.post("/chat/question", json=asked, headers=mine)
    assert reply.status_code == 200
    answer = reply.json()
    assert (answer["outcome"], answer["sources"][0]["document_id"]) == ("answered", document["id"])
    assert "nautical maps" in answer["answer"]
    follow = {"question": "Who sails?" + " " * 5000, "conversation_id": answer["conversation_id"]}
    refused = http.post("/chat/question", json=follow, headers=mine).json()
    assert refused["outcome"] in ("refused", "answered")
    where = {"conversation_id": answer["conversation_id"], "limit": 1}
    newest = http.get("/chat/history", params=where, headers=mine).json()
    assert newest["history"] == [refused]
    where["page_token"] = newest["next_page_token"]
    older = http.get("/chat/history/", params=where, headers=mine).json()
    assert (older["history"], older["total"]) == ([answer], 2)
    assert http.get("/chat/history", headers=admin(tenant)).json()["history"] == []

    down = {"turn_id": answer["id"], "rating": "down", "comment": "Too short."}
    feedback = http.post("/feedback", json=down, headers=mine).json()
    assert (feedback["rating"], feedback["comment"]) == ("down", "Too short.")
    for score, word in ((1, "down"), (3, None), (5, "up")):
        again = {"message_id": feedback["message_id"], "rating": score}
        scored = http.post("/feedback", json=again, headers=mine).json()
        assert (scored["rating"], scored["score"]) == (word, score)
    assert wrong(http.post("/feedback", json=down, headers=admin(tenant))) == (404, "RESOURCE_NOT_FOUND")
    where = {"rating": "up", "state": "open", "user_id": me, "agent": "personal"}
    (read,) = http.get("/feedback", params=where, headers=admin(tenant)).json()["feedback"]
    assert (read["message_id"], read["turn_id"], read["rating"], read["score"]) == (
        feedback["message_id"],
        answer["id"],
        "up",
        5,
    )
    assert http.get("/feedback?rating=down", headers=admin(tenant)).json()["feedback"] == []
    assert wrong(http.get("/feedback?rating=5", headers=admin(tenant))) == (400, "FILTER_INVALID")
    stats = http.get("/feedback/stats", headers=admin(tenant)).json()
    numbers = {"up": 1, "down": 0, "neutral": 0, "scored": 1, "mean_score": 5.0, "commented": 0, "open": 1}
    assert stats["agents"] == [{"agent": "personal", **numbers}]
    (own,) = [one for one in http.get("/analytics/usage", headers=mine).json()["usage"] if one["agent"]]
    assert (own["questions"], own["agent"]) == (2, "personal")
    for path in (f"/analytics/users/{me}", "/analytics/system"):
        usage = http.get(path, params={"by": "day"}, headers=admin(tenant)).json()["usage"]
        assert [one for one in usage if one["agent"]] == [own]
    assert fields(http.get("/analytics/system?by=year", headers=admin(tenant))) == ["by"]
    both = {**down, "message_id": feedback["message_id"]}
    assert fields(http.post("/feedback", json=both, headers=mine)) == ["turn_id", "message_id"]
    for rating in ("5", 0, 6, 10**20, 4.0, True):
        assert fields(http.post("/feedback", json={**down, "rating": rating}, headers=mine)) == ["rating"]
    nothing = http.post("/chat/question", json={}, headers=mine)
    assert (fields(nothing), nothing.json()["detail"]) == (["question"], "question: must not be empty")
    assert fields(http.get(f"/users/{'7' * 300}/profile", headers=mine)) == ["id"]
    broken = {**mine, "content-type": "application/json"}
    unread = http.post("/chat/question", content='{"question": ', headers=broken)
    assert wrong(unread) == (400, "MALFORMED_MESSAGE")
    place = "Expecting value (line 1, column 14)"
    detail = f"This server cannot read the request: it is not JSON in UTF-8: {place}."
    assert unread.json()["detail"] == detail


def test_the_remedies_of_these_paths_work(http: httpx2.Client, tenant: Tenant) -> None:
    mine = tenant.headers(Credential.USER)

    def wrong_at(reply: httpx2.Response) -> str:
        """The only wrong field, after a check that the detail says the same as the list."""
        (only,) = reply.json()["errors"]
        assert reply.json()["detail"] == f"{only['field']}: {only['message']}"
        assert not re.search(r"(conversations|turns|messages|users)/", only["message"])
        return only["field"]

    queried = http.post("/agent/query/", json={"query": "Who sails?"}, headers=mine).json()
    assert queried["tool_results"] == []
    answer = http.post("/chat/question", json={"question": "Who sails?"}, headers=mine).json()
    # The names of the contract are accepted next to the ids.
    named = f"conversations/{answer['conversation_id']}"
    again = http.post(
        "/chat/question",
        json={"question": "Who?", "conversation_id": named, "agent": "agents/default"},
        headers=mine,
    )
    assert (again.status_code, again.json()["conversation_id"]) == (200, answer["conversation_id"])
    found = http.get("/chat/history", params={"conversation_id": named}, headers=mine).json()["history"]
    assert [one["id"] for one in found] == [again.json()["id"], answer["id"]]
    given = {"turn_id": f"turns/{answer['id']}", "rating": "up"}
    feedback = http.post("/feedback", json=given, headers=mine).json()
    given = {"message_id": f"messages/{feedback['message_id']}", "rating": "down"}
    assert http.post("/feedback", json=given, headers=mine).json()["rating"] == "down"

    refused = http.get("/chat/history?conversation_id=zzz", headers=mine)
    assert (wrong(refused), wrong_at(refused)) == ((400, "FILTER_INVALID"), "conversation_id")
    for path, body, field in (
        ("/chat/question", {"question": "Why?", "conversation_id": "zzz"}, "conversation_id"),
        ("/chat/question", {"text": "Why?"}, "question"),
        ("/feedback", {"turn_id": "zzz", "rating": "up"}, "turn_id"),
        ("/feedback", {"message_id": "zzz", "rating": "up"}, "message_id"),
        ("/feedback", {"turn_id": answer["id"], "rating": "meh"}, "rating"),
        ("/feedback", {"turn_id": answer["id"]}, "rating"),
    ):
        assert wrong_at(http.post(path, json=body, headers=mine)) == field
    assert wrong_at(http.get("/users/7", headers=admin(tenant))) == "id"
    for limit in ("-5", "0", "x", "1.5"):
        refused = http.get(f"/chat/history?limit={limit}", headers=mine)
        assert wrong_at(refused) == "limit"
        assert "1" in refused.json()["detail"]
        assert "200" in refused.json()["detail"]


def test_another_tenants_user_is_like_one_that_does_not_exist(http: httpx2.Client, tenant: Tenant) -> None:
    foreign = http.get("/users/me", headers=tenant.other.headers(Credential.ADMIN)).json()
    for path in ("/users/{}", "/users/{}/disable"):
        replies: list[dict[str, Any]] = []
        for one in (foreign["id"], str(uuid.UUID(int=7))):
            method = "POST" if path.endswith("disable") else "GET"
            reply = http.request(method, path.format(one), headers=admin(tenant))
            assert wrong(reply) == (404, "RESOURCE_NOT_FOUND")
            replies.append(reply.json())
        assert replies[0] == replies[1]
    reply = http.get(f"/users/email/{foreign['email']}", headers=admin(tenant))
    assert wrong(reply) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("row", ROWS, ids=lambda one: f"{one.methods[0]} {one.path}")
def test_each_path_asks_for_the_credential_of_its_call(
    http: httpx2.Client, tenant: Tenant, row: OriginalRow
) -> None:
    path = row.path.replace("{id}", str(uuid.UUID(int=7))).replace("{email}", "nobody@example.org")
    body = None if row.methods == ("GET",) else dict[str, object]()
    nobody = http.request(row.methods[0], path, json=body)
    if RULES[row.call] == "public":
        assert nobody.status_code in (204, 400, 401, 403)
        assert row.code == 204 or wrong(nobody)[1] in ("INVALID_FIELD", "REGISTRATION_CLOSED")
        return
    assert wrong(nobody) == (401, "CREDENTIAL_MISSING")
    member = http.request(row.methods[0], path, headers=tenant.headers(Credential.USER), json=body)
    if RULES[row.call] == "admin":
        assert wrong(member) == (403, "ROLE_REQUIRED")


@pytest.mark.parametrize(
    ("path", "body", "wrong_fields"),
    [
        ("/auth/login", {}, ["email", "password"]),
        ("/auth/login", {"email": "a@example.org", "password": 7}, ["password"]),
        ("/auth/login", {"email": "a@example.org", "password": "x" * 257}, ["password"]),
        ("/auth/login", {"email": "a@example.org", "password": None}, ["password"]),
        ("/auth/login", {"username": "a@example.org", "password": PASSWORD}, ["email"]),
        ("/auth/register", {"email": "a@example.org"}, ["password"]),
        ("/auth/register", {"email": "a@example.org", "password": PASSWORD, "name": "x" * 201}, ["name"]),
        ("/auth/refresh", {}, ["refresh_token"]),
        ("/auth/refresh", {"refresh_token": "rst_x", "request_id": "x"}, ["request_id"]),
        ("/auth/logout", {}, ["refresh_token"]),
        ("/auth/logout", None, ["refresh_token"]),
    ],
)
def test_bad_fields_have_the_names_of_these_paths(
    http: httpx2.Client, path: str, body: dict[str, Any] | None, wrong_fields: list[str]
) -> None:
    assert fields(http.post(path, json=body)) == wrong_fields


def test_other_bad_input(http: httpx2.Client, tenant: Tenant) -> None:
    mine = tenant.headers(Credential.USER)
    assert fields(http.get("/users?limit=x", headers=admin(tenant))) == ["limit"]
    assert fields(http.get("/users?limit=201", headers=admin(tenant))) == ["limit"]
    assert fields(http.get("/users?limit=1&limit=2", headers=admin(tenant))) == ["limit"]
    assert fields(http.get("/users?skip=1&page=2", headers=admin(tenant))) == ["skip", "page"]
    assert fields(http.get("/users?page=0", headers=admin(tenant))) == ["page"]
    assert fields(http.get("/users?page=200&size=200", headers=admin(tenant))) == ["page"]
    assert fields(http.get("/users/7", headers=admin(tenant))) == ["id"]
    assert wrong(http.get("/users?page_token=x", headers=admin(tenant))) == (400, "PAGE_TOKEN_INVALID")
    assert wrong(http.patch("/users/me", json={}, headers=mine)) == (400, "UPDATE_MASK_INVALID")
    assert wrong(http.patch("/users/me", json={"role": "admin"}, headers=mine)) == (400, "UPDATE_MASK_INVALID")  # fmt: skip
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content, headers in ((b"email=x", form), (b"{", {"content-type": "application/json"})):
        reply = http.post("/auth/login", content=content, headers=headers)
        assert wrong(reply) == (400, "MALFORMED_MESSAGE")
    too_long = http.post("/auth/login", json={"email": "x" * 5000, "password": "x"})
    assert wrong(too_long) == (400, "MALFORMED_MESSAGE")


def test_failures_of_a_sign_in(http: httpx2.Client, tenant: Tenant) -> None:
    body = {"email": "nobody@example.org", "password": PASSWORD, "tenant": tenant.name}
    reply = http.post("/auth/login", json=body)
    assert wrong(reply) == (401, "SIGN_IN_FAILED")
    for _ in range(9):
        http.post("/auth/login", json=body)
    reply = http.post("/auth/login", json=body)
    assert wrong(reply) == (429, "TOO_MANY_ATTEMPTS")
    assert 0 < int(reply.headers["retry-after"]) <= 901


def test_paths_that_do_not_exist(http: httpx2.Client, tenant: Tenant) -> None:
    for method, path, code in (("GET", "/auth", 404), ("GET", "/auth/login", 405), ("POST", "/users", 405)):
        assert http.request(method, path, headers=admin(tenant)).status_code == code
