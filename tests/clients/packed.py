"""The clients as their users get them: packed under the names of another publisher, and installed in empty projects."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.instance import ROOT
from tools.clients.pack import PACKERS
from tools.publishing import fill, wanted

PUBLISHED = """
version = "1.2.3"
[python]
client = "others-client"
formats = "others-formats"
[typescript]
client = "@others/answers"
contract = "@others/answers-contract"
[go]
client = "others.example.org/answers/clients/go"
contract = "others.example.org/answers/generated/go"
[rust]
client = "others-answers"
contract = "others-answers-contract"
[java]
group = "org.example.others"
client = "answers"
"""
"""What another publisher writes into publishing.toml."""


def known() -> list[str]:
    """The files that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def clone(folder: Path, *under: str) -> Path:
    """Make a copy without what git ignores, as a fresh clone is; with paths, of what is under them."""
    for name in known():
        if under and not name.startswith(under):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@cache
def published() -> Path:
    """A clone of another publisher, whose names `make generate` has filled in."""
    folder = ROOT / "build" / "published"
    shutil.rmtree(folder, ignore_errors=True)
    clone(folder)
    (folder / "publishing.toml").write_text(PUBLISHED, encoding="utf-8")
    fill(folder)
    return folder


def installed(client: str, folder: Path) -> Sequence[str | Path]:
    """Pack a client, install it in an empty project in the folder, and build its example there. Returns the command that runs the example.

    Raises CalledProcessError.
    """
    # A copy of TypeScript's client would have to be built again.
    root = ROOT if client == "typescript" else published()
    (folder / "dist").mkdir()
    PACKERS[client](root, folder / "dist")
    (folder / "project").mkdir()
    return _INSTALLERS[client](root, folder / "dist", folder / "project")


def _typescript(root: Path, dist: Path, project: Path) -> Sequence[str | Path]:
    (project / "package.json").write_text('{"type": "module"}')
    install = ("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefer-offline")
    _run(project, *install, *dist.glob("*.tgz"))
    return ("node", shutil.copy(root / "clients" / "typescript" / "example.mjs", project))


def _go(root: Path, dist: Path, project: Path) -> Sequence[str | Path]:
    values = wanted(root)
    shutil.copy(root / "clients" / "go" / "example" / "main.go", project)
    known = _output("go", "env", "GOPROXY", "GOMODCACHE").split()
    # A cache of its own, because the modules of another run have the same version.
    variables = {
        "GOPROXY": f"file://{dist}/go,file://{known[1]}/cache/download,{known[0]}",
        "GOMODCACHE": f"{project}/modules",
        "GONOSUMDB": "others.example.org",
        "GOFLAGS": "-modcacherw -trimpath",
    }
    _run(project, "go", "mod", "init", "empty.example.org/project", **variables)
    _run(project, "go", "get", f"{values['go.client']}@v{values['version']}", **variables)
    _run(project, "go", "build", "-o", "example", ".", **variables)
    return (project / "example",)


def _rust(root: Path, dist: Path, project: Path) -> Sequence[str | Path]:
    values = wanted(root)
    for crate in dist.glob("*.crate"):
        with tarfile.open(crate) as opened:
            opened.extractall(dist, filter="data")
    (project / "src").mkdir()
    shutil.copyfile(root / "clients" / "rust" / "examples" / "example.rs", project / "src" / "main.rs")
    names = (values["rust.client"], values["rust.contract"])
    patches = [f'{name} = {{ path = "{dist}/{name}-{values["version"]}" }}' for name in names]
    lines = (
        '[package]\nname = "project"\nedition = "2024"\n[dependencies]',
        f'{names[0]} = "{values["version"]}"\ntokio = {{ version = "1", features = ["macros", "rt"] }}',
        "[patch.crates-io]",
        *patches,
    )
    (project / "Cargo.toml").write_text("\n".join(lines))
    # The versions that are compiled already for the client's own tests.
    shutil.copy(root / "clients" / "rust" / "Cargo.lock", project)
    built = ROOT / "build" / "clients" / "packed-rust"
    _run(project, "cargo", "build", "--quiet", "--config", "profile.dev.debug=false", "--target-dir", built)
    return (built / "debug" / "project",)


def _java(root: Path, dist: Path, project: Path) -> Sequence[str | Path]:
    values = wanted(root)
    known = Path.home() / ".m2" / "repository"
    (project / "pom.xml").write_text(
        _POM.format(
            packed=dist / "maven",
            known=known,
            **{name.replace(".", "_"): value for name, value in values.items()},
        )
    )
    # A repository of its own, because the packages of another run have the same version.
    local = f"-Dmaven.repo.local={project}/repository"
    _run(project, "mvn", "--batch-mode", "--quiet", local, "compile")
    example = shutil.copy(root / "clients" / "java" / "example" / "Example.java", project)
    return ("java", "-XX:TieredStopAtLevel=1", "-cp", (project / "classpath").read_text(), example)


_INSTALLERS: Mapping[str, Callable[[Path, Path, Path], Sequence[str | Path]]] = {
    "typescript": _typescript,
    "go": _go,
    "rust": _rust,
    "java": _java,
}
PACKED = tuple(_INSTALLERS)
"""The clients that `installed` installs. Those of Python are in tests/architecture/test_wheel.py."""
_POM = """
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>empty</groupId>
  <artifactId>project</artifactId>
  <version>1</version>
  <repositories>
    <repository><id>packed</id><url>file://{packed}</url></repository>
    <repository><id>known</id><url>file://{known}</url></repository>
  </repositories>
  <pluginRepositories>
    <pluginRepository><id>known</id><url>file://{known}</url></pluginRepository>
  </pluginRepositories>
  <dependencies>
    <dependency><groupId>{java_group}</groupId><artifactId>{java_client}</artifactId><version>{version}</version></dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin>
        <artifactId>maven-antrun-plugin</artifactId>
        <version>3.2.0</version>
        <executions>
          <execution>
            <phase>compile</phase>
            <goals><goal>run</goal></goals>
            <configuration>
              <target>
                <pathconvert property="path" refid="maven.runtime.classpath"/>
                <echo file="${{project.basedir}}/classpath">${{path}}</echo>
              </target>
            </configuration>
          </execution>
        </executions>
      </plugin>
    </plugins>
  </build>
</project>
"""


def _run(folder: Path, *command: str | Path, **variables: Any) -> None:
    subprocess.run(command, cwd=folder, env={**os.environ, **variables}, check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
