"""Clients that generators make of the contract, or of the description that a running instance serves, compile and read documents.

The generators come from the package registries, in the versions below: `make soak CAMPAIGN=generated_clients`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx2
import pytest

from bench.load import GHZ, GHZ_VERSION
from responsa_client import Responsa
from tests.callers import Credential, Registry
from tests.instance import ROOT, Instance
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PYTHON: Final = "openapi-python-client==0.29.1"
NPM: Final = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9")
JAVA: Final = "org.openapitools:openapi-generator-cli:7.25.0"
TEXT: Final = b"# The well\n\nThe well in the yard is twelve feet deep.\n"
GO: Final = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
    "ghz": f"{GHZ}@{GHZ_VERSION}",
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
    "protoc-gen-connect-go": "connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
}
"""The Go programs, with their modules."""
CONNECT_PYTHON: Final = ("connectrpc==0.13.0", "protoc-gen-connectrpc==0.13.0", "protoc-gen-py==0.7.0")
ASKS_IN_GO: Final = """
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"connectrpc.com/connect"
	chat "example.org/ask/gen/responsa/chat/v1"
	"example.org/ask/gen/responsa/chat/v1/chatv1connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

func main() {
	for _, options := range [][]connect.ClientOption{{}, {connect.WithProtoJSON()}, {connect.WithSendGzip()}} {
		client := chatv1connect.NewChatServiceClient(http.DefaultClient, os.Args[1], options...)
		ask := connect.NewRequest(&chat.AskRequest{Text: "How deep is the well?"})
		ask.Header().Set("authorization", "Bearer "+os.Args[2])
		stream, err := client.Ask(context.Background(), ask)
		if err != nil {
			panic(err)
		}
		last := ""
		for stream.Receive() {
			for _, event := range stream.Msg().Events {
				last = fmt.Sprintf("%T", event.Event)
			}
		}
		_, err = client.GetTurn(context.Background(), connect.NewRequest(&chat.GetTurnRequest{Name: "turns/none"}))
		var failed *connect.Error
		errors.As(err, &failed)
		detail, _ := failed.Details()[0].Value()
		fmt.Println(last, stream.Err(), failed.Code(), detail.(*errdetails.ErrorInfo).Reason)
	}
}
"""
ASKS_OVER_GRPC_IN_GO: Final = """
package main

import (
	"context"
	"fmt"
	"os"

	chat "example.org/ask/gen/responsa/chat/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	client := chat.NewChatServiceClient(connection)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Args[2])
	stream, err := client.Ask(ctx, &chat.AskRequest{Text: "How deep is the well?"})
	if err != nil {
		panic(err)
	}
	last := ""
	frame, err := stream.Recv()
	for ; err == nil; frame, err = stream.Recv() {
		for _, event := range frame.Events {
			last = fmt.Sprintf("%T", event.Event)
		}
	}
	_, failed := client.GetTurn(context.Background(), &chat.GetTurnRequest{Name: "turns/none"})
	refused := status.Convert(failed)
	fmt.Println(last, err, refused.Code(), refused.Details()[0].(*errdetails.ErrorInfo).Reason)
}
"""
CARGO: Final = """
[package]
name = "ask"
version = "0.1.0"
edition = "2024"

[dependencies]
prost = "0.14"
prost-types = "0.14"
tonic = "0.14"
tonic-prost = "0.14"
tonic-types = "0.14"
tokio = { version = "1", features = ["macros", "rt"] }

[build-dependencies]
prost = "0.14"
prost-types = "0.14"
tonic-prost-build = "0.14"
"""
BUILDS_IN_RUST: Final = """
use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set = prost_types::FileDescriptorSet::decode(&*std::fs::read("descriptor.binpb")?)?;
    Ok(tonic_prost_build::configure().build_server(false).include_file("all.rs").compile_fds(set)?)
}
"""
ASKS_IN_RUST: Final = """
mod proto {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}
use proto::responsa::chat::v1::{AskRequest, GetTurnRequest, chat_service_client::ChatServiceClient, turn_event::Event};
use tonic::{Request, transport::Channel};
use tonic_types::StatusExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let mut client = ChatServiceClient::new(Channel::from_shared(arguments[1].clone())?.connect().await?);
    let mut ask = Request::new(AskRequest { text: "How deep is the well?".into(), ..Default::default() });
    ask.metadata_mut().insert("authorization", format!("Bearer {}", arguments[2]).parse()?);
    let mut stream = client.ask(ask).await?.into_inner();
    let mut answered = false;
    while let Some(frame) = stream.message().await? {
        answered = frame.events.iter().any(|event| matches!(event.event, Some(Event::Answer(_))));
    }
    let refused = client.get_turn(GetTurnRequest { name: "turns/none".into(), ..Default::default() }).await.unwrap_err();
    println!("{answered} {:?} {}", refused.code(), refused.get_details_error_info().unwrap().reason);
    Ok(())
}
"""
POM: Final = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId><artifactId>ask</artifactId><version>1</version>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
    <grpc>1.85.0</grpc><protobuf>3.25.9</protobuf>
  </properties>
  <dependencies>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-netty-shaded</artifactId><version>${grpc}</version></dependency>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-protobuf</artifactId><version>${grpc}</version></dependency>
    <dependency><groupId>io.grpc</groupId><artifactId>grpc-stub</artifactId><version>${grpc}</version></dependency>
  </dependencies>
  <build>
    <extensions><extension><groupId>kr.motd.maven</groupId><artifactId>os-maven-plugin</artifactId><version>1.7.1</version></extension></extensions>
    <plugins>
      <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.14.1</version></plugin>
      <plugin>
        <groupId>org.xolstice.maven.plugins</groupId><artifactId>protobuf-maven-plugin</artifactId><version>0.6.1</version>
        <configuration>
          <protocArtifact>com.google.protobuf:protoc:${protobuf}:exe:${os.detected.classifier}</protocArtifact>
          <pluginId>grpc-java</pluginId>
          <pluginArtifact>io.grpc:protoc-gen-grpc-java:1.76.0:exe:${os.detected.classifier}</pluginArtifact>
          <protoSourceRoot>PROTOS</protoSourceRoot>
        </configuration>
        <executions><execution><goals><goal>compile</goal><goal>compile-custom</goal></goals></execution></executions>
      </plugin>
      <plugin><groupId>org.codehaus.mojo</groupId><artifactId>exec-maven-plugin</artifactId><version>3.5.0</version></plugin>
    </plugins>
  </build>
</project>
"""
ASKS_IN_JAVA: Final = """
import io.grpc.*;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import responsa.chat.v1.ChatServiceGrpc;
import responsa.chat.v1.ChatServiceOuterClass.*;

public class Ask {
    public static void main(String[] arguments) throws Exception {
        var channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
        var headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + arguments[1]);
        var signed = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
        var frames = ChatServiceGrpc.newBlockingStub(signed).ask(AskRequest.newBuilder().setText("How deep is the well?").build());
        Object last = null;
        while (frames.hasNext()) for (var event : frames.next().getEventsList()) last = event.getEventCase();
        try {
            ChatServiceGrpc.newBlockingStub(channel).getTurn(GetTurnRequest.newBuilder().setName("turns/none").build());
        } catch (StatusRuntimeException refused) {
            var info = StatusProto.fromThrowable(refused).getDetails(0).unpack(com.google.rpc.ErrorInfo.class);
            System.out.println(last + " " + refused.getStatus().getCode() + " " + info.getReason());
        }
        channel.shutdownNow();
    }
}
"""
ASKS_IN_PYTHON: Final = """
import sys
from connectrpc.errors import ConnectError
from gen.responsa.chat.v1.chat_service_connect import ChatServiceClientSync
from gen.responsa.chat.v1.chat_service_pb import AskRequest, GetTurnRequest

url, key = sys.argv[1:]
client = ChatServiceClientSync(url)
frames = [*client.ask(AskRequest(text="How deep is the well?"), headers={"authorization": f"Bearer {key}"})]
try:
    client.get_turn(GetTurnRequest(name="turns/none"))
except ConnectError as error:
    print(len(frames) > 1, error.code.value, len(error.details))
"""
READS_IN_PYTHON: Final = """
import sys
from responsa_api_client import AuthenticatedClient
from responsa_api_client.api.knowledge_service import knowledge_service_get_document as get, knowledge_service_list_documents as listed

url, key = sys.argv[1:]
with AuthenticatedClient(url, key, raise_on_unexpected_status=True) as client:
    (document,) = listed.sync("default", client=client).documents
    again = get.sync(document.name.removeprefix("documents/"), client=client)
    print(again.title, again.metadata.to_dict(), again.create_time.year > 2000, int(again.size_bytes))
"""
READS_IN_TYPESCRIPT: Final = """
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [url = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${key}` } });
const { data, error } = await client.GET("/v1/collections/{collection}/documents", { params: { path: { collection: "default" } } });
if (!data) throw new Error(error.message);
const [document]: components["schemas"]["responsa.knowledge.v1.Document"][] = data.documents ?? [];
console.log(document?.title, document?.metadata, Number(document?.sizeBytes));
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not in pytest's folder: uv links the packages from its cache, which is on another disk than files in memory.
    (ROOT / "build").mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="generated-", dir=ROOT / "build"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def described(instance: Instance, folder: Path) -> Path:
    """The description that the instance serves."""
    path = folder / "openapi.json"
    path.write_bytes(httpx2.get(f"{instance.url}/openapi.json").content)
    return path


@pytest.fixture(scope="module")
def key(instance: Instance, registry: Registry) -> str:
    """The key of a tenant with one document."""
    made = registry.new_tenant().key(Credential.ADMIN)
    with Responsa(instance.url, made) as client:
        client.wait(client.upload(TEXT, source_key="well.md", metadata={"depth": 12}))
    return made


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What a command prints. Raises CalledProcessError; its errors are shown."""
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, stdout=-1, text=True, check=True).stdout


@pytest.fixture(scope="module")
def go(folder: Path) -> str:
    """The PATH with the Go programs."""
    assert shutil.which("go"), "go is not installed (go.dev/dl)"
    for module in GO.values():
        run(folder, "go", "install", module, GOBIN=f"{folder}/bin")
    return os.pathsep.join((f"{folder}/bin", str(Path(sys.executable).parent), os.environ["PATH"]))


def generate(folder: Path, name: str, plugins: Sequence[Mapping[str, object]], path: str) -> Path:
    """A new folder with what buf generates of the contract."""
    project = folder / name
    project.mkdir()
    managed = {
        "enabled": True,
        "disable": [{"path": "google"}],
        "override": [{"file_option": "go_package_prefix", "value": "example.org/ask/gen"}],
    }
    template = {
        "version": "v2",
        "managed": managed,
        "plugins": [{**plugin, "out": "gen"} for plugin in plugins],
    }
    (project / "buf.gen.yaml").write_text(json.dumps(template))
    paths = () if name == "python" else ("--path", "responsa", "--path", "buf")
    run(project, "buf", "generate", ROOT / "generated" / "descriptor.binpb", *paths, PATH=path)
    return project


def run_go(folder: Path, path: str, kind: str, program: str, *arguments: str) -> str:
    """What a program prints that uses what protoc-gen-go and protoc-gen-KIND generate."""
    own = {"opt": "paths=source_relative"}
    plugins = [{"local": f"protoc-gen-{name}", **own} for name in ("go", kind)]
    project = generate(folder, kind, plugins, path)
    (project / "main.go").write_text(program)
    (project / "go.mod").write_text("module example.org/ask\n\ngo 1.25\n")
    run(project, "go", "mod", "tidy")
    return run(project, "go", "run", ".", *arguments)


def test_grpcurl_and_ghz_need_only_reflection(instance: Instance, folder: Path, go: str, key: str) -> None:
    method = "responsa.knowledge.v1.KnowledgeService.ListDocuments"
    said = run(folder, "grpcurl", "-plaintext", instance.target, "describe", method, PATH=go)
    assert "rpc ListDocuments (" in said
    header, body = f"authorization: Bearer {key}", '{"parent": "collections/default"}'
    read = ("grpcurl", "-plaintext", "-H", header, "-d", body, instance.target, method)
    assert "The well" in run(folder, *read, PATH=go)
    metadata = json.dumps({"authorization": f"Bearer {key}"})
    load = ("ghz", "--insecure", "--call", method, "-m", metadata, "-d", body, "-n", "20", "-O", "json")
    assert json.loads(run(folder, *load, instance.target, PATH=go))["statusCodeDistribution"] == {"OK": 20}


def test_connect_go_works_as_it_is(instance: Instance, folder: Path, go: str, key: str) -> None:
    said = run_go(folder, go, "connect-go", ASKS_IN_GO, instance.url, key)
    assert said == "*chatv1.TurnEvent_Answer <nil> unauthenticated CREDENTIAL_MISSING\n" * 3


def test_grpc_go_works_as_it_is(instance: Instance, folder: Path, go: str, key: str) -> None:
    said = run_go(folder, go, "go-grpc", ASKS_OVER_GRPC_IN_GO, instance.target, key)
    assert said == "*chatv1.TurnEvent_Answer EOF Unauthenticated CREDENTIAL_MISSING\n"


def test_tonic_works_as_it_is(instance: Instance, folder: Path, key: str) -> None:
    project = folder / "rust"
    (project / "src").mkdir(parents=True)
    shutil.copy(ROOT / "generated" / "descriptor.binpb", project)
    (project / "Cargo.toml").write_text(CARGO)
    (project / "build.rs").write_text(BUILDS_IN_RUST)
    (project / "src" / "main.rs").write_text(ASKS_IN_RUST)
    said = run(project, "cargo", "run", "--quiet", "--", instance.url, key)
    assert said == "true Unauthenticated CREDENTIAL_MISSING\n"


def test_grpc_java_works_as_it_is(instance: Instance, folder: Path, key: str) -> None:
    project = folder / "grpc-java"
    source = project / "src" / "main" / "java"
    source.mkdir(parents=True)
    (project / "pom.xml").write_text(POM.strip().replace("PROTOS", str(ROOT / "protos")))
    (source / "Ask.java").write_text(ASKS_IN_JAVA)
    quiet = ("mvn", "--batch-mode", "--quiet")
    arguments = f"-Dexec.args={instance.target} {key}"
    said = run(project, *quiet, "compile", "exec:java", "-Dexec.mainClass=Ask", arguments)
    # Maven wraps what the program prints in codes of the terminal.
    assert "ANSWER UNAUTHENTICATED CREDENTIAL_MISSING\n" in said


def test_connect_python_works_as_it_is(instance: Instance, folder: Path, key: str) -> None:
    found = uv_variables(pip_settings() or "")
    assert found is not None, "uv cannot do what the settings of pip say"
    variables = {**DEFAULTS, **found, "VIRTUAL_ENV": str(folder / "connect")}
    run(ROOT, UV, "venv", "--quiet", "--python", sys.executable, folder / "connect", **variables)
    run(ROOT, UV, "pip", "install", "--quiet", *CONNECT_PYTHON, "googleapis-common-protos", **variables)
    programs = folder / "connect" / "bin"
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    plugins = [
        {"local": name, "include_imports": True} for name in ("protoc-gen-py", "protoc-gen-connectrpc")
    ]
    project = generate(folder, "python", plugins, path)
    said = run(project, programs / "python", "-c", ASKS_IN_PYTHON, instance.url, key)
    assert said == "True unauthenticated 1\n"


def test_openapi_python_client_reads_documents(
    instance: Instance, folder: Path, described: Path, key: str
) -> None:
    found = uv_variables(pip_settings() or "")
    assert found is not None, "uv cannot do what the settings of pip say"
    variables = {**DEFAULTS, **found, "VIRTUAL_ENV": str(folder / "venv")}
    programs = folder / "venv" / "bin"
    run(ROOT, UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", **variables)
    run(ROOT, UV, "pip", "install", "--quiet", PYTHON, "ruff", **variables)
    generate = (programs / "openapi-python-client", "generate", "--fail-on-warning")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    run(folder, *generate, "--path", described, "--output-path", "client", PATH=path)
    said = run(folder / "client", programs / "python", "-c", READS_IN_PYTHON, instance.url, key)
    assert said == f"The well {{'depth': 12.0}} True {len(TEXT)}\n"


def test_openapi_typescript_compiles_strictly_and_reads_documents(
    instance: Instance, folder: Path, described: Path, key: str
) -> None:
    project = folder / "typescript"
    project.mkdir()
    (project / "package.json").write_text('{"type": "module"}')
    (project / "reads.ts").write_text(READS_IN_TYPESCRIPT)
    run(project, "npm", "install", "--silent", "--no-fund", "--no-audit", *NPM, "@types/node@20")
    programs = project / "node_modules" / ".bin"
    run(project, programs / "openapi-typescript", described, "--output", "api.d.ts")
    strict = ("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess")
    run(project, programs / "tsc", *strict, "--module", "nodenext", "--target", "es2022", "reads.ts")
    said = run(project, "node", "reads.js", instance.url, key)
    assert said == f"The well {{ depth: 12 }} {len(TEXT)}\n"


def test_a_client_of_openapi_generator_compiles(folder: Path, described: Path) -> None:
    copy = ("mvn", "--batch-mode", "--quiet", "dependency:copy", f"-DoutputDirectory={folder}")
    run(folder, *copy, f"-Dartifact={JAVA}")
    (jar,) = folder.glob("*.jar")
    generate = ("java", "-jar", jar, "generate", "--generator-name", "java", "--library", "native")
    run(folder, *generate, "--input-spec", described, "--output", "java")
    run(folder / "java", "mvn", "--batch-mode", "--quiet", "-Dmaven.test.skip=true", "compile")
