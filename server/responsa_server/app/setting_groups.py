"""The groups of settings, by what they are for. `Settings` holds one of each (settings.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SettingsGroup(BaseModel):
    """A group: a key that it does not know is an error, not a wish that goes unheard."""

    model_config = ConfigDict(extra="forbid")


class TurnSettings(SettingsGroup):
    """Turns: how long, how many, how they are kept alive."""

    lease_seconds: float = Field(
        default=6.0,
        ge=0.5,
        le=300,
        description="How long a worker owns a turn without renewing; then another one takes the turn over and goes on.",
    )
    sweep_seconds: float = Field(
        default=0.5,
        ge=0.1,
        le=60,
        description="How often a worker looks for turns that wait for one, or whose lease ran out.",
    )
    time_limit_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="The longest a turn may take, from when a worker first took it, before it ends as TURN_TIME_LIMIT.",
    )
    max_running: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Turns that one worker runs at a time; more wait for a worker with room.",
    )
    max_pending: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Turns that may wait for a worker, over all replicas; more are refused with OVERLOADED.",
    )
    max_queued: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Turns that may wait for each other in one conversation (`on_busy` QUEUE); more are refused with QUEUE_FULL.",
    )
    max_losses: int = Field(
        default=5,
        ge=0,
        le=100,
        description="How often a turn is taken over from a worker that was lost over it; the next loss ends it as WORKER_LOST.",
    )
    history_messages: int = Field(
        default=10, ge=0, le=100, description="Messages of the conversation that are read as context."
    )
    heartbeat_seconds: float = Field(
        default=15.0,
        ge=1,
        le=30,
        description="How often a silent stream sends an empty frame; clients take 45 seconds of silence for a cut.",
    )
    disconnect_seconds: float = Field(
        default=10.0,
        ge=0.1,
        le=300,
        description="How long a turn asked with `cancel_on_disconnect` goes on after its caller left, when nobody follows it.",
    )
    retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="How long the events of an ended turn are kept; who resumes it later gets its answer whole.",
    )
    checkpoint_hours: float = Field(
        default=24.0,
        ge=1,
        le=8760,
        description="For how long a turn that no worker runs can be gone on with where it stood; taken over later, it begins anew.",
    )
    prune_seconds: float = Field(
        default=3600.0,
        ge=1,
        le=86_400,
        description="How often a worker removes events and checkpoints that are older.",
    )
    partition_days_ahead: int = Field(
        default=14, ge=2, le=90, description="How far ahead partitions of the event log are made."
    )


class RetrievalSettings(SettingsGroup):
    """Searching passages and choosing what supports an answer."""

    hnsw_m: int = Field(
        default=16,
        ge=2,
        le=100,
        description="Links of a node in the vector index; another value builds it anew at the next start.",
    )
    hnsw_ef_construction: int = Field(
        default=64,
        ge=4,
        le=1000,
        description="Breadth while the vector index is built, at least twice hnsw_m; another value builds it anew at the next start.",
    )
    hnsw_ef_search: int = Field(
        default=100,
        ge=10,
        le=1000,
        description="Breadth of a vector search; more finds more and takes longer.",
    )
    support_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least support that an answer needs, else it is refused; empty takes the calibrated one. 0 never refuses what has any passage.",
    )
    search_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=30,
        description="How long one statement of a search may take in the database, waiting for locks included; then words alone are searched, which may take as long, and then the search counts as failed.",
    )
    embedding_threads: int = Field(
        default=0, ge=0, le=64, description="Threads of the embedding model; 0 takes one a core."
    )

    @model_validator(mode="after")
    def _broad_enough(self) -> Self:
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            raise ValueError("hnsw_ef_construction must be at least twice hnsw_m")
        return self


class IngestionSettings(SettingsGroup):
    """Taking in documents."""

    concurrency: int = Field(
        default=2, ge=1, le=64, description="Documents that are read and embedded at a time."
    )
    parser_seconds: float = Field(
        default=20.0, ge=1, le=600, description="The longest that reading one document may take."
    )
    parser_memory_mib: int = Field(
        default=512,
        ge=128,
        le=16_384,
        description="Memory that reading one document may take beyond the parser's own.",
    )


class SessionSettings(SettingsGroup):
    """Browser sessions."""

    code_seconds: int = Field(
        default=600, ge=30, le=3600, description="How long a single-use session code is good."
    )
    session_seconds: int = Field(
        default=43_200, ge=300, le=2_592_000, description="How long a browser's session is good."
    )
    secure_cookie: bool = Field(
        default=False,
        description="Whether the session's cookie is sent over TLS alone; set it where TLS is in front.",
    )


class AgentSettings(SettingsGroup):
    """Agents: where their files are."""

    folder: Path | None = Field(
        default=None,
        description="Folder of your own agents, each in a folder that is named by its id; empty means `agents` in the data folder. One of the same id as a shipped agent takes its place.",
    )
    default: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The agent that answers who names none.",
    )
    watch: bool = Field(
        default=True,
        description="Whether a change of their files is taken up at once; else `responsa agents reload` does.",
    )


class SocketSettings(SettingsGroup):
    """WebSocket, `/ws/chat`."""

    per_user: int = Field(
        default=16, ge=1, le=10_000, description="Connections that one user may have open, of one process."
    )
    turns: int = Field(default=4, ge=1, le=1000, description="Turns that one connection may run at a time.")
    message_bytes: int = Field(
        default=262_144, ge=1024, le=1_048_576, description="The longest message that is taken."
    )


class TestingSettings(SettingsGroup):
    """An agent to interrupt, for trials and campaigns."""

    agent: bool = Field(
        default=False,
        description="Whether the agent `testing` is there, which answers by a script in the question and costs nothing. Not for production.",
    )
    model_url: str = Field(
        default="",
        description="OpenAI-compatible server that the testing agent asks; empty starts a scripted one in the server's own process.",
    )
    tool_url: str = Field(
        default="",
        description="What the testing agent's tool calls by HTTP; empty starts a counting one in the server's own process.",
    )
