"""Checks the files for containers with the programs that read them: `.venv/bin/python tools/deploy_check.py`.

Usage: python tools/deploy_check.py [--quick]

--quick leaves out helm, compose-go and actionlint, whose build takes three minutes of CPU time in a clean machine's caches.
Instead, it compares the files with `deploy/checked.json`, which the whole check writes. `make test` does this
(tests/architecture/test_deploy.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import jsonschema_rs
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "responsa"
COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
RENDERED: Final = DEPLOY / "helm" / "rendered"
CHECKED: Final = DEPLOY / "checked.json"
MODULES: Final = ROOT / "tools" / "deploy"
"""The Go module that pins helm and compose-go."""
LINTER: Final = ROOT / "tools" / "workflows"
"""The Go module that pins actionlint. It is one of its own, so that helm's dependencies do not choose actionlint's."""
WORKFLOWS: Final = ROOT / ".github" / "workflows"
KUBERNETES: Final = "1.34"
VALUES: Final[Mapping[str, Sequence[Path]]] = {
    "default.yaml": (),
    "everything.yaml": (DEPLOY / "helm" / "everything.yaml",),
}
"""The manifests that helm renders, with the files of values."""
SCHEMAS: Final[Mapping[str, str]] = {
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    ".github/ISSUE_TEMPLATE/problem.yaml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/wish.yaml": "github-issue-forms",
    ".github/workflows/ci.yaml": "github-workflows",
    ".github/workflows/deploy.yaml": "github-workflows",
    ".github/workflows/release.yaml": "github-workflows",
    ".gitlab-ci.yml": "gitlab-ci",
    "deploy/compose/compose.yaml": "compose-spec",
}
"""Files, with the names of check-jsonschema's schemas."""
NO_SCHEMA: Final = frozenset({"ScaledObject", "TriggerAuthentication"})
"""The kinds of KEDA, which are not part of Kubernetes."""


class Wrong(Exception):
    """A file is wrong. The message names the file and the problem."""


def quick() -> None:
    """Everything but what Go's programs check. Raises Wrong."""
    lint_dockerfile()
    for file, schema in SCHEMAS.items():
        match_schema(ROOT / file, schema)
    for name in VALUES:
        validate_manifests(RENDERED / name)
    known = json.loads(CHECKED.read_text(encoding="utf-8"))
    for what, digest in digests().items():
        if known.get(what) != digest:
            raise Wrong(
                f"the files of {what} have changed since they were checked; "
                "run `.venv/bin/python tools/deploy_check.py`, and commit what it writes"
            )


def whole() -> None:
    """Everything; renders the chart's manifests anew. Raises Wrong."""
    helm, compose, actionlint = (
        built("helm", "helm.sh/helm/v3/cmd/helm"),
        built("compose", "github.com/compose-spec/compose-go/v2/cmd"),
        built("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", LINTER),
    )
    run(actionlint, "-shellcheck=", "-pyflakes=", *map(str, workflows()))
    # The environment would fill in the file's variables. The secrets need not exist.
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    run(compose, COMPOSE.name, cwd=COMPOSE.parent, env=environment)
    RENDERED.mkdir(exist_ok=True)
    for name, values in VALUES.items():
        arguments = [str(part) for path in values for part in ("--values", path)]
        run(helm, "lint", "--strict", "--quiet", str(CHART), *arguments)
        manifests = run(helm, "template", "responsa", str(CHART), "--kube-version", KUBERNETES, *arguments)
        (RENDERED / name).write_text(manifests, encoding="utf-8")
    CHECKED.write_text(json.dumps(digests(), indent=1) + "\n", encoding="utf-8")
    quick()


def lint_dockerfile() -> None:
    """hadolint. Raises Wrong."""
    run(Path(sys.executable).with_name("hadolint"), str(DEPLOY / "docker" / "Dockerfile"))


def match_schema(file: Path, schema: str) -> None:
    """Compare a YAML file with its schema. Raises Wrong."""
    text = (files("check_jsonschema") / f"builtin_schemas/vendor/{schema}.json").read_text("utf-8")
    validator = jsonschema_rs.validator_for(json.loads(text))
    document = yaml.load(file.read_text(encoding="utf-8"), Loader=_Plain)
    if problems := [
        f"{'.'.join(map(str, one.instance_path))}: {one.message}" for one in validator.iter_errors(document)
    ]:
        raise Wrong(f"{file.relative_to(ROOT)}: {'; '.join(problems)[:1000]}")


def validate_manifests(file: Path) -> None:
    """Compare rendered manifests with the schemas of Kubernetes, without unknown fields. Raises Wrong."""
    import kubernetes_validate  # takes a second of CPU time

    for manifest in manifests(file):
        if manifest["kind"] in NO_SCHEMA:
            continue
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Wrong(
                f"{file.name}, {manifest['kind']} {manifest['metadata']['name']}: {error.message}"
            ) from error


def manifests(file: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file of manifests."""
    return (
        cast("dict[str, Any]", one) for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one
    )


def workflows() -> Sequence[Path]:
    """The workflows, which actionlint reads."""
    return sorted(WORKFLOWS.glob("*.yaml"))


def digests() -> Mapping[str, str]:
    """The hashes of the files that helm, compose-go and actionlint read, and of those that helm has rendered."""
    chart = [*CHART.rglob("*"), *RENDERED.glob("*.yaml"), DEPLOY / "helm" / "everything.yaml"]
    modules = MODULES / "go.sum"
    return {
        "chart": _digest([*chart, modules]),
        "compose": _digest([COMPOSE, modules]),
        "workflows": _digest([*workflows(), LINTER / "go.sum"]),
    }


def _digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def built(name: str, package: str, module: Path = MODULES) -> Path:
    """A Go program of the pinned release, from the user's cache. Raises Wrong without Go."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "responsa-tools"
    program = cache / f"{name}-{hashlib.sha256((module / 'go.sum').read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise Wrong(f"{name} is built with Go, which is not installed (go.dev)")
        print(f"Building {name} (once, up to three minutes of CPU time)", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            run(Path(go), "build", "-ldflags=-s -w", "-o", f"{folder}/{name}", package, cwd=module)
            Path(folder, name).replace(program)
    return program


def run(program: Path, *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """The output of a program. Raises Wrong with its words if it fails."""
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Wrong(f"{program.name} {' '.join(arguments)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


class _Plain(yaml.SafeLoader):
    """YAML 1.2's booleans: `on` is the name of a key of GitHub's workflows."""


_Plain.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"
    ]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def main() -> None:
    """Check, and exit with what is wrong."""
    try:
        quick() if "--quick" in sys.argv[1:] else whole()
    except Wrong as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
