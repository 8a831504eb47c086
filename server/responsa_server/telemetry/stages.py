"""Stages: what a call or a turn does one after the other, with its times and counts.

`stage` opens a stage of whatever the running task records. Each stage becomes a line of the log at debug level and, if
the trace is sampled, a span. A turn whose trace is not sampled keeps a list of its stages; if the turn is slow or
fails, they become spans at its end. If nothing is recorded, a stage costs less than a microsecond.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from opentelemetry.context import Context, attach
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

Count = str | int | float | bool | tuple[str, ...]
"""The value of a count: a number, or a name such as a model's. Never a text of a user, a document or a model."""

TRACE_ID: Final = "trace_id"
"""The metadata key of an error, and the field of a line of the log, with the id of the trace."""
MOST_KEPT: Final = 256
"""The maximum number of stages that an unsampled turn keeps."""
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_NOWHERE: Final = Context()


class DebugLog(Protocol):
    """The method of structlog's loggers that is used here."""

    def debug(self, event: str, **fields: object) -> object:
        """Log a stage."""
        ...


@dataclass(frozen=True, slots=True)
class Traces:
    """How this process records stages.

    tracer: makes spans; None if no traces are made. late: makes the spans of unsampled turns that were slow or failed.
    log: gets a line for each stage; None unless the level is debug.
    slow_seconds: from this time on, a turn is slow. texts: whether spans may contain texts. provider: makes the tracers
    of libraries; None if no traces are made.
    """

    tracer: Tracer | None = None
    late: Tracer | None = None
    log: DebugLog | None = None
    slow_seconds: float = 10.0
    texts: bool = False
    provider: TracerProvider | None = None

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self.tracer is not None or self.log is not None

    def call(
        self,
        name: str,
        traceparent: Sequence[str],
        fields: Mapping[str, str],
        span: Span | None = None,
        /,
        **counts: Count,
    ) -> Stage:
        """The stage of a call from outside. traceparent: the values of the caller's header; anything but one valid
        value is ignored. fields: what every line of the log names. span: of `take_span`, which ends it."""
        parent = context_of(traceparent[0]) if len(traceparent) == 1 else None
        return Stage(_Record(self, fields), None, name, counts, SpanKind.SERVER, parent=parent, opened=span)

    def turn(
        self, name: str, traceparent: str, fields: Mapping[str, str], *, again: bool, **counts: Count
    ) -> Stage:
        """The stage of an attempt at a turn. traceparent: that of the accepted call, "" if it is not known. fields:
        what every line of the log names. again: whether earlier attempts were broken off."""
        parent = context_of(traceparent)
        links = [Link(parent)] if again and parent is not None else ()
        record = _Record(self, fields, keeps=self.late is not None)
        return Stage(record, None, name, counts, SpanKind.INTERNAL, parent=parent, links=links)


OFF: Final = Traces()
"""Records nothing."""


def context_of(traceparent: str) -> SpanContext | None:
    """The span that a `traceparent` header names; None if the header is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace, span, flags = (int(part, 16) for part in match.groups())
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))


def take_span() -> Span | None:
    """The span that OpenTelemetry's interceptor has opened for the running call; None without one. From now on, it is
    no longer OpenTelemetry's current span: a library in this process could send its id to anybody."""
    span = get_current_span()
    if not span.get_span_context().is_valid:
        return None
    # The interceptor detaches its own context, which it does not miss.
    attach(_NOWHERE)
    return span


@dataclass(slots=True)
class _Record:
    """The stages of one call, or of one attempt at a turn. fields: what every line of the log names. keeps: whether
    stages are kept if the trace is not sampled."""

    traces: Traces
    fields: Mapping[str, str]
    keeps: bool = False
    stages: list[Stage] = field(default_factory=list["Stage"])


class _Idle:
    """A stage of nothing that is recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self) -> Self:
        return self

    def end(self, error: BaseException | None = None) -> None:
        pass

    def current(self) -> Self:
        return self

    def add(self, **counts: Count) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass

    def text(self, name: str, text: Callable[[], str]) -> None:
        pass

    @property
    def traceparent(self) -> str:
        return ""

    @property
    def trace_id(self) -> str:
        return ""

    @property
    def takes_texts(self) -> bool:
        return False


IDLE: Final = _Idle()


class Stage:
    """A stage. As a context manager, it begins and ends with the block, and the stages that begin in the block are
    parts of it. An exception that leaves the block marks it as failed."""

    __slots__ = (
        "_before",
        "begun",
        "counts",
        "ended",
        "failure",
        "kind",
        "links",
        "minor",
        "name",
        "opened",
        "parent",
        "record",
        "remote",
        "sampled",
        "span",
    )

    def __init__(
        self,
        record: _Record,
        within: Stage | None,
        name: str,
        counts: dict[str, Count],
        kind: SpanKind,
        *,
        minor: bool = False,
        parent: SpanContext | None = None,
        links: Sequence[Link] = (),
        opened: Span | None = None,
    ) -> None:
        """minor: whether the stage is a span alone, which is neither logged nor kept. opened: its span, if somebody
        else begins and ends that."""
        self.name = name
        self.counts = counts
        self.begun = self.ended = 0
        self.failure = ""
        self.minor = minor
        self.sampled = False
        """Whether the stage is a span that will be sent."""
        self.record = record
        self.parent = within
        self.kind = kind
        self.remote = parent
        self.links = links
        self.opened = self.span = opened
        self._before: Stage | None = None

    def begin(self, at: int | None = None) -> Self:
        """Begin, without becoming the current stage. at: the time in nanoseconds since 1970; now by default."""
        self.begun = at or time.time_ns()
        tracer = self.record.traces.tracer
        within = self.parent
        if self.opened is not None:
            self.opened.update_name(self.name)
            self.opened.set_attributes(_attributes(self.counts))
            self.sampled = self.opened.is_recording()
        elif tracer is not None and (within is None or within.sampled):
            self.span = tracer.start_span(
                self.name,
                self.context(),
                self.kind,
                _attributes(self.counts),
                links=self.links,
                start_time=self.begun,
            )
            self.sampled = self.span.is_recording()
        return self

    def end(self, error: BaseException | None = None, at: int | None = None) -> None:
        """End. error: why the stage failed; only its type is recorded. at: see `begin`."""
        self.ended = at or time.time_ns()
        if error is not None and not self.failure:
            self.failure = type(error).__name__
        record, span = self.record, self.span
        if span is not None and self.sampled:
            self.complete(span)
        if self.minor or self.parent is None:
            return
        if record.keeps and not self.sampled and len(record.stages) < MOST_KEPT:
            record.stages.append(self)
        log = record.traces.log
        if log is not None:
            ms = round((self.ended - self.begun) / 1e6, 3)
            failure = {"error": self.failure} if self.failure else {}
            log.debug("stage", stage=self.name, ms=ms, **record.fields, **failure, **self.counts)

    def add_part(self, name: str, begun: int, ended: int, **counts: Count) -> None:
        """Record a part that has already ended. begun, ended: in nanoseconds since 1970."""
        Stage(self.record, self, name, counts, SpanKind.INTERNAL).begin(begun).end(at=ended)

    def settle(self) -> None:
        """After the end of a turn's stage: if its trace was not sampled, write its stages as spans if the turn was slow or failed."""
        record = self.record
        slow = self.ended - self.begun >= record.traces.slow_seconds * 1e9
        late = record.traces.late
        if late is None or self.sampled or not (slow or self.failure):
            return
        written: dict[Stage, Span] = {}
        # A stage ends before the stage that it is a part of.
        for stage in (self, *reversed(record.stages)):
            above = written.get(stage.parent, written[self]) if stage.parent is not None else None
            written[stage] = span = late.start_span(
                stage.name,
                self.context() if above is None else set_span_in_context(above, _NOWHERE),
                stage.kind,
                _attributes(stage.counts),
                links=stage.links,
                start_time=stage.begun,
            )
            stage.complete(span)

    def __enter__(self) -> Self:
        self._before = _CURRENT.get()
        _CURRENT.set(self)
        return self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not by the token of `set`, which would be of another context if a generator is closed elsewhere.
        _CURRENT.set(self._before)
        self.end(error)

    @contextmanager
    def current(self) -> Generator[None]:
        """In the block, stages that begin are parts of this one. For a stage that a generator keeps open while its
        reader does something else."""
        before = _CURRENT.get()
        _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.set(before)

    def add(self, **counts: Count) -> None:
        """Record counts that are known only now."""
        self.counts |= counts
        if self.span is not None and self.sampled:
            self.span.set_attributes(_attributes(counts))

    def fail(self, reason: str) -> None:
        """Record that the stage has failed. reason: a name of the error, without details."""
        self.failure = reason

    def text(self, name: str, text: Callable[[], str]) -> None:
        """Record a text in the span alone, if the settings allow texts."""
        if self.takes_texts and self.span is not None:
            self.span.set_attribute(name, text())

    @property
    def takes_texts(self) -> bool:
        """Whether `text` records anything."""
        return self.sampled and self.record.traces.texts

    @property
    def traceparent(self) -> str:
        """The header `traceparent` that names this stage; "" if no traces are made."""
        named = self.span_context()
        if named is None:
            return ""
        return f"00-{named.trace_id:032x}-{named.span_id:016x}-{named.trace_flags:02x}"

    @property
    def trace_id(self) -> str:
        """The id of the trace; "" unless the trace is sampled."""
        return (
            f"{self.span.get_span_context().trace_id:032x}" if self.span is not None and self.sampled else ""
        )

    def span_context(self) -> SpanContext | None:
        """The span of this stage; in an unsampled trace, that of the call or turn."""
        if self.span is not None:
            return self.span.get_span_context()
        return None if self.parent is None else self.parent.span_context()

    def context(self) -> Context:
        above = self.parent.span if self.parent is not None else None
        if above is not None:
            return set_span_in_context(above, _NOWHERE)
        if self.remote is not None:
            return set_span_in_context(NonRecordingSpan(self.remote), _NOWHERE)
        return _NOWHERE

    def complete(self, span: Span) -> None:
        if self.failure:
            span.set_attribute("error.type", self.failure)
            span.set_status(Status(StatusCode.ERROR))
        if span is not self.opened:
            span.end(self.ended)


_CURRENT: ContextVar[Stage | None] = ContextVar("responsa_stage", default=None)

AnyStage = Stage | _Idle


def _attributes(counts: Mapping[str, Count]) -> dict[str, Count]:
    """The counts as attributes of a span. A name without a dot is ours."""
    return {name if "." in name else f"responsa.{name}": value for name, value in counts.items()}


def stage(name: str, kind: SpanKind = SpanKind.INTERNAL, /, **counts: Count) -> AnyStage:
    """A new stage of what the running task records. counts: names with a dot are attributes of OpenTelemetry's semantic conventions."""
    within = _CURRENT.get()
    # A task may outlive the stage in which it was started.
    if within is None or within.ended:
        return IDLE
    return Stage(within.record, within, name, counts, kind)


def exchange(name: str, /, **counts: Count) -> AnyStage:
    """Like `stage`, for a request to another program, which is a span alone: it is neither logged nor kept."""
    within = _CURRENT.get()
    if within is None or not within.sampled or within.ended:
        return IDLE
    return Stage(within.record, within, name, counts, SpanKind.CLIENT, minor=True)


def current() -> AnyStage:
    """The stage that the running task is in."""
    return _CURRENT.get() or IDLE
