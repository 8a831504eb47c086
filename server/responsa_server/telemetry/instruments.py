"""The metrics of a server: one table of their names, units and meanings, through which all parts measure. `make
generate` writes the table into `docs/monitoring.md`.

This module imports nothing of OpenTelemetry. Until `app/metrics.py` connects an instrument, a measurement costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

MOST_SERIES: Final = 500
"""The maximum number of combinations of labels of an instrument. Further ones are counted with the label value `other`."""
OTHER: Final = "other"

Write = Callable[[float, Mapping[str, str]], object]
Reading = tuple[float, Sequence[str]]
"""A value, and the values of the instrument's labels."""

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SHORT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_LONG_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_NUMBERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class MetricKind(StrEnum):
    """What a metric is for Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Instrument:
    """One metric.

    name: the name in OpenTelemetry. unit: in the notation of UCUM; a word in braces names what is counted. labels: the
    names of the labels. bounds: the upper bounds of a histogram's buckets. known: values of a counter's labels that are
    there from the start, as 0: Prometheus sees no increase in a counter that begins with 1.
    """

    def __init__(
        self,
        kind: MetricKind,
        name: str,
        unit: str,
        meaning: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = (),
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        self.kind = kind
        self.name = name
        self.unit = unit
        self.meaning = meaning
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self.known = known
        self._write: Write | None = None
        self._known: dict[tuple[str, ...], Mapping[str, str]] = {}

    @property
    def exposed(self) -> str:
        """The name in Prometheus' exposition."""
        unit = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return f"{self.name.replace('.', '_')}{unit}{'_total' if self.kind is MetricKind.COUNTER else ''}"

    @property
    def on(self) -> bool:
        """Whether anybody reads the metric. A caller asks before it computes a value that costs something."""
        return self._write is not None

    def add(self, value: float, *labels: str) -> None:
        """Add to a counter, or record a value of a histogram. labels: the values of the labels, in their order; names
        that a configuration or the code knows, never a text or an id of a user."""
        if self._write is not None:
            self._write(value, self._known.get(labels) or self.admit(labels))

    def admit(self, labels: Sequence[str]) -> Mapping[str, str]:
        """The labels with their values, or with OTHER if there are too many combinations."""
        key = tuple(labels)
        if (known := self._known.get(key)) is not None:
            return known
        if len(self._known) >= MOST_SERIES:
            return dict.fromkeys(self.labels, OTHER)
        known = self._known[key] = dict(zip(self.labels, key, strict=True))
        return known

    def connect(self, write: Write | None) -> None:
        """Pass measurements on from now on; None stops that."""
        self._write = write


Readings = Mapping[Instrument, Callable[[], Iterable[Reading]]]
"""How the values of gauges, and of counters that a part keeps anyway, are read when somebody asks for the metrics. The
functions run on any thread."""


def _counter(
    name: str, unit: str, meaning: str, *labels: str, known: Sequence[Sequence[str]] = ()
) -> Instrument:
    return Instrument(MetricKind.COUNTER, name, unit, meaning, labels, known=known)


def _gauge(name: str, unit: str, meaning: str, *labels: str) -> Instrument:
    return Instrument(MetricKind.GAUGE, name, unit, meaning, labels)


def _histogram(name: str, unit: str, meaning: str, bounds: Sequence[float], *labels: str) -> Instrument:
    return Instrument(MetricKind.HISTOGRAM, name, unit, meaning, labels, bounds)


CALLS: Final = _counter(
    "responsa.calls",
    "{call}",
    (
        "Calls that have ended, over all transports. `method` is a method of the contract, such "
        "as `ChatService/Ask`, or `other`; `code` is a code of gRPC."
    ),
    "method",
    "code",
)
CALL_SECONDS: Final = _histogram(
    "responsa.call.duration", "s", "How long calls took, streams included.", _SECONDS, "method"
)
CALLS_RUNNING: Final = _gauge(
    "responsa.calls.running", "{call}", "Calls that run now, without health checks and reflection."
)
REFUSALS: Final = _counter(
    "responsa.refusals",
    "{call}",
    (
        "Calls that were refused because a limit or a quota is used up. `reason` is a reason of "
        "the error, such as `RATE_LIMIT` or `QUOTA_EXHAUSTED`."
    ),
    "reason",
)
ERRORS: Final = _counter(
    "responsa.errors",
    "{error}",
    (
        "Unexpected errors. `error` is the class of the exception, `place` the line of "
        "Responsa's code that raised it or called what raised it."
    ),
    "error",
    "place",
)
STREAMS: Final = _gauge(
    "responsa.streams", "{stream}", "Readers that follow a turn here, over all transports."
)
SOCKETS: Final = _gauge("responsa.sockets", "{connection}", "Open WebSockets.")

USERS_ACTIVE: Final = _gauge(
    "responsa.users.active",
    "{user}",
    "Users of all servers who have asked a question in the last 15 minutes, at most 15 s ago.",
)
MAILS: Final = _counter(
    "responsa.mails",
    "{attempt}",
    (
        "Attempts to send an e-mail. `outcome`: `sent`, `failed` (it is tried again) or `refused` "
        "(the mail server will never take it)."
    ),
    "outcome",
    known=(("sent",), ("failed",), ("refused",)),
)
DELIVERIES: Final = _counter(
    "responsa.deliveries",
    "{attempt}",
    "Attempts at a delivery to a webhook. `outcome`: `delivered` or `failed`.",
    "outcome",
    known=(("delivered",), ("failed",)),
)

TURNS: Final = _counter(
    "responsa.turns",
    "{turn}",
    "Turns that ended here. `outcome`: `answered`, `refused`, `failed` or `cancelled`.",
    "outcome",
    "agent",
)
TURN_SECONDS: Final = _histogram(
    "responsa.turn.duration", "s", "The time from the beginning of a run to its end.", _LONG_SECONDS, "agent"
)
FIRST_EVENT_SECONDS: Final = _histogram(
    "responsa.turn.first_event.duration",
    "s",
    "The time from the beginning of a run until its first event was committed and could be read.",
    _SHORT_SECONDS,
    "agent",
)
FIRST_TEXT_SECONDS: Final = _histogram(
    "responsa.turn.first_text.duration",
    "s",
    "The time from the beginning of a run until the first words of the answer were committed and could be read.",
    _SECONDS,
    "agent",
)
STEP_SECONDS: Final = _histogram(
    "responsa.step.duration",
    "s",
    "How long the steps of turns took; the `_count` is the number of steps. `kind` is the kind of the agent's node.",
    _SECONDS,
    "kind",
)
TURNS_RUNNING: Final = _gauge("responsa.turns.running", "{turn}", "Turns that run in this process.")
TURNS_RATE: Final = _gauge(
    "responsa.turns.rate",
    "{turn}",
    (
        "How many turns that ask no language model this process finishes in a second while all "
        "their slots are taken, as far as it has measured. New questions are admitted by it."
    ),
)
TURNS_WAITING: Final = _gauge(
    "responsa.turns.waiting", "{turn}", "Turns of all servers that wait for a worker, at most 15 s ago."
)
TURNS_WAITING_AGE: Final = _gauge(
    "responsa.turns.waiting.age", "s", "How long the oldest of these turns has waited."
)
CLAIMS: Final = _counter(
    "responsa.turn.claims",
    "{turn}",
    (
        "Turns that this process has begun to run. `from`: `caller` for a turn whose call came "
        "here, `queue` for a turn that waited, `worker` for a turn that another worker had begun."
    ),
    "from",
)
UNFINISHED_RUNS: Final = _counter(
    "responsa.turn.runs.left",
    "{turn}",
    (
        "Runs that ended before their turn. `cause`: `lost` (another worker or call has taken "
        "the turn), `abandoned` (nothing could be written), `given_up` (this process stops)."
    ),
    "cause",
)
LEASES_LOST: Final = _counter(
    "responsa.turn.leases.lost", "{lease}", "Leases that could not be renewed because the turn was taken."
)
COMMIT_SECONDS: Final = _histogram(
    "responsa.commit.duration", "s", "How long the commits of turns' events took.", _SHORT_SECONDS
)
COMMIT_TURNS: Final = _histogram(
    "responsa.commit.turns", "{turn}", "How many turns' events a commit contained.", _NUMBERS
)

SEARCH_SECONDS: Final = _histogram(
    "responsa.search.duration",
    "s",
    (
        "How long searches took. `part`: `whole`, or one of its parts: `embedding` (of the "
        "question), `passages` (PostgreSQL and ranking), `reranking` (by a model)."
    ),
    _SHORT_SECONDS,
    "part",
)
SEARCHES_WITHOUT_VECTORS: Final = _counter(
    "responsa.searches.text_only",
    "{search}",
    "Searches that used only words because vectors were not available.",
)
CACHE_LOOKUPS: Final = _counter(
    "responsa.cache.lookups",
    "{lookup}",
    (
        "Lookups in caches. `cache`: `vectors`, `searches`, "
        "`credentials` or `collections` (those in memory); `result`: `hit` or "
        "`miss`."
    ),
    "cache",
    "result",
)

MODEL_CALLS: Final = _counter(
    "responsa.model.calls",
    "{call}",
    "Calls of language models. `model` is `provider:model`; `outcome` is `ok`, or the cause of the failure.",
    "model",
    "outcome",
)
MODEL_SECONDS: Final = _histogram(
    "responsa.model.duration",
    "s",
    "How long calls of language models took, to the last piece.",
    _LONG_SECONDS,
    "model",
)
MODEL_FIRST_SECONDS: Final = _histogram(
    "responsa.model.first_piece.duration",
    "s",
    "The time until a language model sent its first piece.",
    _SECONDS,
    "model",
)
MODEL_TOKENS: Final = _counter(
    "responsa.model.tokens",
    "{token}",
    "Tokens that turns used of language models. `direction`: `input` or `output`.",
    "model",
    "direction",
)
MODEL_COST: Final = _counter(
    "responsa.model.cost",
    "{micro_usd}",
    "What the calls of language models by turns cost, in millionths of a US dollar.",
    "model",
)
TOOL_SECONDS: Final = _histogram(
    "responsa.tool.duration",
    "s",
    "How long calls of tools took. `outcome`: `ok`, `error` or `unknown`.",
    _SECONDS,
    "tool",
    "outcome",
)

DOCUMENTS: Final = _counter(
    "responsa.ingestion.documents",
    "{document}",
    (
        "Attempts to ingest a document. `outcome`: `ready`, `rejected` (the document or its "
        "collection is at fault) or `failed` (the server is, and it is tried again; or the operation "
        "was cancelled, taken over or begun anew)."
    ),
    "outcome",
)
DOCUMENT_BYTES: Final = _counter("responsa.ingestion.read", "By", "The sizes of these documents.")
DOCUMENT_SECONDS: Final = _histogram(
    "responsa.ingestion.duration",
    "s",
    "How long the ingestion of a document took, without its time in the queue.",
    _LONG_SECONDS,
)
SYNCS: Final = _counter(
    "responsa.source.syncs",
    "{run}",
    "Attempts of runs of sources. `outcome`: `ended`, `continues` (in a later job) or `failed`.",
    "outcome",
)
SYNCS_FAILED: Final = _counter(
    "responsa.source.failures",
    "{run}",
    "Runs of sources that have failed, after all their attempts.",
    known=((),),
)
SYNC_SECONDS: Final = _histogram(
    "responsa.source.sync.duration", "s", "How long these attempts took.", _LONG_SECONDS
)
LATE_IMPORTS: Final = _counter(
    "responsa.parser.late_imports",
    "{import}",
    "Modules that a parser needed late. The document was parsed again, with the module.",
    "module",
)
PARSER_FAILURES: Final = _counter(
    "responsa.parser.failures",
    "{process}",
    "Parsers that an unexpected error ended. `error` is the type of the exception, or the signal.",
    *("format", "error"),
)
JOBS_WAITING: Final = _gauge(
    "responsa.jobs.waiting",
    "{job}",
    "Jobs of all servers that are due and wait for a worker, at most 15 s ago.",
)
JOBS_WAITING_AGE: Final = _gauge(
    "responsa.jobs.waiting.age", "s", "How long the oldest of these jobs has been due."
)

POOL_CONNECTIONS: Final = _gauge(
    "responsa.pool.connections",
    "{connection}",
    (
        "Connections to PostgreSQL and Redis. `pool`: `app`, `credentials`, `turns`, `log`, "
        "`writer` (PostgreSQL) or `redis`; `state`: `idle`, `used` or `most` (the "
        "maximum)."
    ),
    "pool",
    "state",
)
POOL_WAITING: Final = _gauge(
    "responsa.pool.waiting", "{call}", "Calls that wait for a connection to PostgreSQL.", "pool"
)
CIRCUITS: Final = _gauge(
    "responsa.circuits.open",
    "{circuit}",
    (
        "Circuit breakers that are open, so that nothing is asked of the part. `part`: `model`, "
        "`provider`, `tool`, `postgresql` (pools of connections) or `redis` (its users in this "
        "process: the caches, the limits and the hints between processes)."
    ),
    "part",
)
PARTS: Final = _gauge(
    "responsa.part.health",
    "1",
    "The health of each part as in GetSystemStatus, at most 15 s ago: 1 if it is well, 0.5 if degraded, 0 if down.",
    "part",
)
DISK_FREE: Final = _gauge(
    "responsa.disk.free",
    "By",
    "Free space of the disks with the instance's data. `disk`: `home` (the data folder) or `database`.",
    "disk",
)
DISK_SIZE: Final = _gauge("responsa.disk.size", "By", "The sizes of these disks.", "disk")
BACKUP_AGE: Final = _gauge(
    "responsa.backup.age",
    "s",
    "The age of the newest complete backup that `responsa backup` has made; without one, the age of the database.",
)
LOOP_LAG: Final = _histogram(
    "responsa.loop.lag",
    "s",
    "How much later than asked for the event loop did its work, four times a second.",
    _SHORT_SECONDS,
)
DROPPED: Final = _counter(
    "responsa.telemetry.dropped",
    "{item}",
    "Telemetry that was lost because it could not be sent. `signal`: `spans` (each) or `metrics` (an export).",
    "signal",
)
LOG_LINES_DROPPED: Final = _counter(
    "responsa.log.lines.dropped", "{line}", "Lines of the log that could not be written."
)

TABLE: Final[Sequence[Instrument]] = sorted(
    (item for item in tuple(globals().values()) if isinstance(item, Instrument)), key=lambda item: item.name
)
"""All instruments, ordered by name."""
