"""Connected folders: their files become documents, later runs take over what has changed, and nothing outside is read."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import git_server, web_folders
from tests.callers import Credential, Tenant
from tests.forked import responsa
from tests.instance import Instance, eventually
from tests.system.test_backup import live
from tests.transports import Json, Outcome, Ways


@dataclass
class Desk:
    """An administrator, and a folder of the tenant on the server."""

    instance: Instance
    tenant: Tenant
    ways: Ways
    folder: Path

    def run(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """What a command prints."""
        environment = {**self.instance.environment, "RESPONSA_API_KEY": self.tenant.key(Credential.ADMIN)}
        done = subprocess.run(
            [*responsa(), *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def call(self, name: str, request: Json) -> Outcome:
        return self.ways.call(name, request, self.tenant.headers(Credential.ADMIN))

    def documents(self) -> dict[str, int]:
        """The version of each document, by the path of its file."""
        request = {"parent": "collections/handbook", "pageSize": 200}
        answered = self.call("KnowledgeService/ListDocuments", request).message
        return {one["sourceKey"].partition("/")[2]: one["version"] for one in answered.get("documents", [])}

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def refusal(self, **folder: object) -> tuple[str, str]:
        """The field that is wrong in a folder, and what the error says."""
        request = {
            "sourceId": "wrong",
            "source": {"folder": {"collection": "collections/handbook", **folder}},
        }
        problem = self.call("AdminService/CreateSource", request).problem
        assert problem is not None, folder
        (violation,) = next(one["fieldViolations"] for one in problem["details"] if "fieldViolations" in one)
        return violation["field"], problem["message"]


@pytest.fixture
def desk(instance: Instance, tenant: Tenant, ways: Ways) -> Desk:
    folder = instance.home.parent / "shared" / tenant.name / "handbook"
    folder.mkdir(parents=True)
    return Desk(instance, tenant, ways, folder)


def test_a_folder_is_connected_and_runs_take_over_what_has_changed(desk: Desk) -> None:
    assert desk.run("sources", "list") == ""
    desk.write("welcome.md", "# Welcome\n\nThe ferry leaves at nine.")
    desk.write("rules/boats.md", "# Boats\n\nBoats are painted each spring.")
    desk.write("rules/oars.txt", "Oars are kept dry.")
    desk.write("tune.mp3", "ID3")
    desk.write(".secret/key.md", "# Key")
    desk.write("empty.md", "")
    (desk.folder / os.fsdecode(b"\xff.md")).write_text("# A name that is not UTF-8")
    (desk.folder / "out.md").symlink_to("/etc/hostname")
    (desk.folder / "etc").symlink_to("/usr/share/doc")
    said = desk.run("sources", "add", str(desk.folder), "--collection", "handbook")
    assert "3 created, 2 failed, 1 skipped, 0 unchanged" in said
    assert desk.documents() == {"welcome.md": 1, "rules/boats.md": 1, "rules/oars.txt": 1}
    listed = desk.run("sources", "list")
    assert re.search(
        r"^handbook +collections/handbook +checked just now, 3 files, 2 not read$", listed.strip()
    )
    source = desk.call("AdminService/GetSource", {"name": "sources/handbook"}).message
    assert (source["connection"], source["nextRunTime"] > source["createTime"]) == ("path", True)

    desk.write("welcome.md", "# Welcome\n\nThe ferry leaves at ten.")
    desk.write("new.md", "# New")
    (desk.folder / "rules" / "oars.txt").unlink()
    (desk.folder / "empty.md").write_text("# Full now")
    assert "2 created, 1 updated, 1 deleted, 1 failed, 1 skipped, 1 unchanged" in desk.run(
        "sources", "run", "handbook"
    )
    assert desk.documents() == {"welcome.md": 2, "rules/boats.md": 1, "new.md": 1, "empty.md": 1}

    for name in ("welcome.md", "new.md", "rules/boats.md"):
        (desk.folder / name).unlink()
    refused = desk.run("sources", "run", "handbook", code=1)
    assert "would delete 3 of the 4 documents" in refused
    assert "the last run failed: The run would delete 3" in desk.run("sources", "list")
    desk.run("sources", "run", "handbook", "--allow-deletions")
    assert desk.documents() == {"empty.md": 1}

    desk.run("sources", "remove", "handbook")
    assert desk.documents() == {"empty.md": 1}
    desk.run(
        "sources", "add", str(desk.folder), "--collection", "handbook", "--id", "again", "--schedule", ""
    )
    assert "nextRunTime" not in desk.call("AdminService/GetSource", {"name": "sources/again"}).message
    desk.run("sources", "remove", "again", "--delete-documents")
    assert desk.documents() == {"empty.md": 1}, "the document of the source that was removed first"


def test_only_folders_below_the_setting_are_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Not for Responsa")
    (desk.folder / "door").symlink_to(tmp_path)
    (desk.folder / ".hidden").mkdir()
    desk.run("collections", "create", "handbook")
    others = desk.folder.parent.parent / "another-tenant"
    others.mkdir(exist_ok=True)
    for address in (
        str(tmp_path),
        str(desk.folder / "door"),
        str(desk.folder / ".hidden"),
        str(desk.folder / ".." / ".."),
        str(desk.instance.home),
        str(others),
        "handbook",
        "/",
    ):
        field, message = desk.refusal(kind="FOLDER_KIND_PATH", address=address)
        assert field == "source.folder.address"
        assert "sources.paths (RESPONSA_SOURCES__PATHS)" in message, address
    field, message = desk.refusal(kind="FOLDER_KIND_PATH", address=str(desk.folder / "nothing"))
    assert (field, "No such file or directory" in message) == ("source.folder.address", True)
    field, _ = desk.refusal(kind="FOLDER_KIND_PATH", address=str(desk.folder), schedule="hourly")
    assert field == "source.folder.schedule"
    paths = desk.call("AdminService/ListConnections", {}).message["folderPaths"]
    assert paths == [str(desk.folder.parent)]
    desk.run("sources", "add", str(tmp_path), "--collection", "fresh", code=2)
    assert "fresh" not in desk.run("collections", "list"), (
        "the command has created it, but the folder was refused"
    )


def test_a_repository_is_read_with_a_password_that_is_never_shown(desk: Desk, tmp_path: Path) -> None:
    with git_server.serving(tmp_path) as server:
        server.commit(welcome="# Welcome\n\nThe ferry leaves at nine.", oars="# Oars", boats="# Boats")
        (tmp_path / "work" / "out.md").symlink_to("/etc/hostname")
        server.git("config", "core.hooksPath", "/dev/null")
        server.commit(anchors="# Anchors")
        login = ("--user", git_server.USER, "--password")
        said = desk.run(
            "sources", "add", server.url, "--collection", "handbook", *login, stdin=git_server.PASSWORD
        )
        assert "4 created, 0 unchanged" in said
        assert desk.documents() == {"welcome.md": 1, "oars.md": 1, "boats.md": 1, "anchors.md": 1}
        server.commit(welcome="# Welcome\n\nThe ferry leaves at ten.", oars=None, rope="# Rope")
        assert "1 created, 1 updated, 1 deleted, 2 unchanged" in desk.run("sources", "run", "handbook")
        stored = desk.call("AdminService/GetSource", {"name": "sources/handbook"}).message
        folder = stored["folder"]
        assert (folder["user"], folder["passwordStored"], "password" in folder) == (
            git_server.USER,
            True,
            False,
        )

        place = {"kind": "FOLDER_KIND_GIT", "address": server.url}
        login = {"user": git_server.USER, "password": "wrong"}
        field, message = desk.refusal(**place, **login)
        assert (field, "refuses the user or the password" in message) == ("source.folder.password", True)
        assert desk.refusal(**place)[0] == "source.folder.password"
        login["password"] = git_server.PASSWORD
        assert desk.refusal(**place, **login, branch="nothing")[0] == "source.folder.branch"
        asked = len(server.requests)
        for address in ("/moved/handbook.git", "/nothing.git"):
            there = server.url.replace("/handbook.git", address)
            assert desk.refusal(**{**place, "address": there}, **login)[0] == "source.folder.address"
        assert all("nothing" in one for one in server.requests[asked:]), "a redirect is not followed"
        for address in ("file:///etc", "ext::sh", "https://127.0.0.2/a.git", "https://10.0.0.1/a.git"):
            assert desk.refusal(**{**place, "address": address})[0] == "source.folder.address", address

        # Another address clears the password; so whoever has the session cannot have it sent elsewhere.
        there = {**folder, "address": f"{server.url}/"}
        change = {"source": {"name": "sources/handbook", "folder": there}, "updateMask": "folder"}
        problem = desk.call("AdminService/UpdateSource", change).problem
        assert problem is not None
        assert "needs a user and a password" in problem["message"]
        change["source"] = {"name": "sources/handbook", "folder": {**folder, "schedule": ""}}
        kept = desk.call("AdminService/UpdateSource", change).message
        assert (kept["folder"]["passwordStored"], "nextRunTime" in kept) == (True, False)
        with live(desk.instance.home) as connection:
            connection.execute(
                "UPDATE responsa.source SET sealed_password = sha256('another') WHERE tenant_id = %s",
                [desk.tenant.name],
            )
        assert "Paste the password again." in desk.run("sources", "run", "handbook", code=1)
        parts = desk.call("AdminService/GetSystemStatus", {}).message["parts"]
        assert any("Paste the password again." in part.get("detail", "") for part in parts)
        desk.run("sources", "remove", "handbook", "--delete-documents")
    assert not list(Path(tempfile.gettempdir()).glob("responsa-git-*"))


def test_a_webdav_folder_is_read_with_all_its_folders(desk: Desk, tmp_path: Path) -> None:
    cloud = tmp_path / "cloud"
    for path, text in (
        ("a b/ferry & co.md", "# Ferry"),
        ("boats.md", "# Boats"),
        ("ä/é/deep.md", "# Deep"),
        (".x/y.md", "# Hidden"),
    ):
        (cloud / path).parent.mkdir(parents=True, exist_ok=True)
        (cloud / path).write_text(text)
    with web_folders.serving_webdav(cloud, tmp_path / "wsgidav.json") as address:
        login = ("--user", web_folders.USER, "--password")
        said = desk.run(
            "sources", "add", address, "--collection", "handbook", *login, stdin=web_folders.PASSWORD
        )
        assert "3 created, 0 unchanged" in said
        assert desk.documents() == {"a b/ferry & co.md": 1, "boats.md": 1, "ä/é/deep.md": 1}
        (cloud / "boats.md").write_text("# Boats of wood")
        (cloud / "ä/é/deep.md").unlink()
        assert "1 updated, 1 deleted, 1 unchanged" in desk.run("sources", "run", "files")
        assert desk.documents() == {"a b/ferry & co.md": 1, "boats.md": 2}
        place = {"kind": "FOLDER_KIND_WEBDAV", "address": address, "user": web_folders.USER}
        assert desk.refusal(**place, password="wrong")[0] == "source.folder.password"
        place["password"] = web_folders.PASSWORD
        assert desk.refusal(**{**place, "address": f"{address}/nothing"})[0] == "source.folder.address"
    field, message = desk.refusal(**place)
    assert (field, "cannot be reached" in message) == ("source.folder.address", True)
    field, message = desk.refusal(kind="FOLDER_KIND_WEBDAV", address="https://10.0.0.1/dav")
    assert (field, "sources.allow_private" in message) == ("source.folder.address", True)


def test_a_bucket_is_read_with_signed_requests(desk: Desk) -> None:
    with web_folders.serving_bucket() as (address, store, key, secret):
        for path in ("rules/boats & oars.md", "rules/ä/deep.md", "other.md", "rules/tune.mp3"):
            store.put(path, f"# {path}".encode())
        login = ("--kind", "s3", "--user", key, "--password")
        said = desk.run(
            "sources", "add", f"{address}/rules", "--collection", "handbook", *login, stdin=secret
        )
        assert "2 created, 1 skipped, 0 unchanged" in said
        assert desk.documents() == {"boats & oars.md": 1, "ä/deep.md": 1}
        store.put("rules/boats & oars.md", b"# Boats alone")
        store.put("rules/new.md", b"# New")
        store.delete("rules/ä/deep.md")
        assert "1 created, 1 updated, 1 deleted" in desk.run("sources", "run", "rules")
        assert desk.documents() == {"boats & oars.md": 2, "new.md": 1}
        place = {"kind": "FOLDER_KIND_S3", "address": address, "user": key}
        assert desk.refusal(**place, password="wrong")[0] == "source.folder.password"
        assert (
            desk.refusal(**{**place, "address": f"{address}-not"}, password=secret)[0]
            == "source.folder.address"
        )


@pytest.mark.parametrize(
    ("kind", "deleted"), [("FOLDER_KIND_S3", False), ("FOLDER_KIND_WEBDAV", True), ("FOLDER_KIND_GIT", False)]
)
def test_a_run_that_is_cancelled_or_whose_source_is_deleted_leaves_its_server(
    desk: Desk, tmp_path: Path, kind: str, deleted: bool
) -> None:
    desk.run("collections", "create", "handbook")
    with web_folders.serving_endless() as endless, git_server.serving(tmp_path) as repository:
        repository.commit(a="# A heron")
        folder, held = {"kind": kind, "address": endless.address}, endless.held
        if kind == "FOLDER_KIND_GIT":
            login = {"user": git_server.USER, "password": git_server.PASSWORD}
            folder, held = {"kind": kind, "address": repository.url, **login}, repository.held
        source = {"folder": {"collection": "collections/handbook", **folder}}
        assert (
            desk.call("AdminService/CreateSource", {"sourceId": "endless", "source": source}).problem is None
        )
        held.holding = kind == "FOLDER_KIND_GIT"
        before = endless.requests
        run = desk.call("AdminService/SyncSource", {"name": "sources/endless"}).message["name"]
        if not held.holding:
            eventually(lambda: endless.requests > before + 3, "requests for further pages")
            held.holding = True
        assert held.arrived.wait(60)
        if deleted:
            assert desk.call("AdminService/DeleteSource", {"name": "sources/endless"}).problem is None
        else:
            assert desk.call("Operations/CancelOperation", {"name": run}).problem is None
        requests = endless.requests, len(repository.requests)
        eventually(lambda: held.left, "the run to leave its server")
        held.holding = False
        # A further run of this tenant begins and ends; the first one has asked for nothing meanwhile.
        desk.write("a.md", "# A heron")
        assert "1 created" in desk.run(
            "sources", "add", str(desk.folder), "--collection", "handbook", "--id", "b"
        )
        assert (endless.requests, len(repository.requests)) == requests
        ended = desk.call("Operations/GetOperation", {"name": run}).message
        reason = "RESOURCE_NOT_FOUND" if deleted else "OPERATION_CANCELLED"
        assert ended["error"]["details"][0]["reason"] == reason
