"""The enums of the contract, the codes of its reasons, the names of its resources and the limits of its texts.

`make generate` writes this file from protos/.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class DeliveryState(StrEnum):
    """DeliveryState is the state of a delivery."""

    WAITING = "waiting"
    """The delivery waits for its first attempt or for another attempt."""
    DELIVERED = "delivered"
    """The receiver accepted the delivery with a status from 200 to 299."""
    FAILED = "failed"
    """All attempts failed."""


class ExperimentUnit(StrEnum):
    """ExperimentUnit says who stays with one version for the whole experiment."""

    USER = "user"
    """Each user."""
    CONVERSATION = "conversation"
    """Each conversation."""


class ExperimentState(StrEnum):
    """ExperimentState is the state of an experiment."""

    RUNNING = "running"
    """New questions are split between the versions."""
    ENDED = "ended"
    """The time of the experiment is over."""
    STOPPED = "stopped"
    """An owner called StopExperiment."""
    GUARDED = "guarded"
    """The guard found the candidate worse than the baseline."""
    SUPERSEDED = "superseded"
    """The agent got another version, by its files, a publication or a rollback."""


class FeedbackState(StrEnum):
    """FeedbackState says whether administrators have dealt with feedback."""

    OPEN = "open"
    """Nobody has dealt with the feedback. When its user changes feedback, it is open again."""
    DONE = "done"
    """An administrator has dealt with the feedback."""


class QuestionOutcome(StrEnum):
    """QuestionOutcome says what became of questions."""

    ANSWERED = "answered"
    """Questions that were answered."""
    NO_SUPPORT = "no_support"
    """Questions that were refused because no document supports an answer (NO_SUPPORT): what the documents lack."""
    REFUSED = "refused"
    """Questions that were refused, for whatever reason."""
    FAILED = "failed"
    """Questions whose turns ended with an error."""
    RATED_DOWN = "rated_down"
    """Questions whose answers were rated DOWN."""


class QuestionPatternState(StrEnum):
    """QuestionPatternState says whether administrators have dealt with the questions of a pattern."""

    OPEN = "open"
    """Nobody has dealt with the questions."""
    DONE = "done"
    """An administrator has dealt with the questions."""
    REOPENED = "reopened"
    """The pattern was DONE, and no document supports an answer to a question that was asked after that. Only the server
    sets this state."""


class ModelTestOutcome(StrEnum):
    """ModelTestOutcome says how a test of a model ended."""

    ANSWERED = "answered"
    """The model has answered."""
    KEY_MISSING = "key_missing"
    """There is no key under the name."""
    KEY_REFUSED = "key_refused"
    """The provider refuses the key, or the key may not use the model, or its account has no credit."""
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    """The server may not connect to the address."""
    UNREACHABLE = "unreachable"
    """Nothing answers at the address."""
    NOT_FOUND = "not_found"
    """The provider has no such model, or the address is not that of its API."""
    TOO_SLOW = "too_slow"
    """The model did not answer in time."""
    BUSY = "busy"
    """The provider takes no further calls at the moment."""
    FAILED = "failed"
    """The provider refused the call, or its answer does not follow the protocol."""


class FolderKind(StrEnum):
    """FolderKind says where a connected folder is."""

    PATH = "path"
    """On the server itself."""
    GIT = "git"
    """A Git repository, at an address of HTTPS."""
    WEBDAV = "webdav"
    """A folder of a WebDAV server, such as Nextcloud."""
    S3 = "s3"
    """A bucket of a store with S3's protocol."""


class Health(StrEnum):
    """Health is the health of a part of the system."""

    OK = "ok"
    """The part answers."""
    DEGRADED = "degraded"
    """The part answers slowly, or the server works without the part and is slower."""
    DOWN = "down"
    """The part does not answer."""


class TenantState(StrEnum):
    """TenantState says whether the users of a tenant may make calls."""

    ACTIVE = "active"
    """The tenant's users may make calls."""
    SUSPENDED = "suspended"
    """The owner of the installation suspended the tenant: its users may make no calls, and no work runs for it."""
    ERASING = "erasing"
    """The data of the tenant is being erased. This cannot be stopped."""
    ERASED = "erased"
    """Only the tenant's id and its audit log are left. The id cannot be used again."""


class Registration(StrEnum):
    """Registration says who may create an account."""

    CLOSED = "closed"
    """Nobody."""
    INVITED = "invited"
    """People with the code of an invitation."""
    OPEN = "open"
    """Anyone."""


class Dimension(StrEnum):
    """UsageDimension is what a usage report is grouped by."""

    AGENT = "agent"
    """The agent that was asked."""
    MODEL = "model"
    """The writer of the answer. See TurnAnswer.model."""
    COLLECTION = "collection"
    """The collection that an answer uses, if it uses one; the collection of an upload; the collection to which a search
    was limited."""
    TOOL = "tool"
    """The tool that was called. The rows of tools count calls only; the row without a tool counts everything else."""


class Role(StrEnum):
    """UserRole is the set of rights of a user."""

    USER = "user"
    """A person who asks questions and keeps documents."""
    ADMIN = "admin"
    """A person who administers the tenant."""
    SERVICE = "service"
    """A program."""


class OnBusy(StrEnum):
    """OnBusy decides what happens to a question if its conversation already has a turn in progress."""

    REJECT = "reject"
    """The server refuses the question with CONVERSATION_BUSY."""
    QUEUE = "queue"
    """The question waits until all earlier questions have ended. Heartbeats report its place in the queue. If too many
    questions wait, the server refuses the question with QUEUE_FULL."""
    INTERRUPT = "interrupt"
    """The server cancels the turn in progress and all waiting turns, and starts the question at once."""


class QuoteOrigin(StrEnum):
    """QuoteOrigin says how the quote of a citation came about. It says nothing of whether the sentence is right."""

    COPIED = "copied"
    """The quote is the words that the mark, or the sentence itself, copies from the source."""
    CHOSEN = "chosen"
    """The mark copies no words. The quote is the piece of the source that shares most words with the sentence; at most
    300 bytes."""
    NOT_FOUND = "not_found"
    """The mark copies words that are not in the source. There is no quote; `source_range` is the part of the source
    that the model has read."""


class JudgeVerdict(StrEnum):
    """JudgeVerdict is what the model that judges citations (the setting `citations.judge`) says of a sentence, when it
    has read the sentence and all its quotes."""

    NONE = "none"
    """No model judges, or there is no quote to judge by."""
    SUPPORTED = "supported"
    """The quotes support the sentence."""
    DENIED = "denied"
    """The quotes say something else, or do not say it."""
    UNDECIDED = "undecided"
    """The model could not tell from the quotes, or has not answered."""


class DifferenceKind(StrEnum):
    """DifferenceKind is what differs between a sentence and its source."""

    QUANTITY = "quantity"
    """A number, date, time, amount or unit of the sentence that the source does not have, or has with another value."""
    NAME = "name"
    """A name, an identifier or a quoted text that the source does not have."""
    DENIAL = "denial"
    """One of the two denies something, and the other does not."""


class Verdict(StrEnum):
    """CitationVerdict is the result of checking a citation against its source."""

    VALID = "valid"
    """The document's current version still has the quote at this position, byte for byte. If the source is a tool: the
    text that the tool returned contains the quote."""
    SOURCE_CHANGED = "source_changed"
    """The document has a newer version, which does not have the quote at this position. If the source is a tool: the
    text that the tool returned does not contain the quote."""
    SOURCE_DELETED = "source_deleted"
    """The document was deleted. If the source is a tool: the text that the tool returned is no longer stored, because
    the events of old turns are deleted."""
    NOT_PERMITTED = "not_permitted"
    """The caller does not have, or no longer has, permission to read the document."""


class Grade(StrEnum):
    """ExcerptGrade ranks the evidence that an excerpt fits the question, as far as a search without a language model
    can tell. No grade says that the answer is there: do not show it to readers as if it did."""

    ANSWERS = "answers"
    """The strongest evidence: most words of the question, or a meaning close to it."""
    PERHAPS = "perhaps"
    """Some evidence: the excerpt is about the question's subject."""
    CLOSEST = "closest"
    """The excerpt is among the closest that were found."""


class Speaker(StrEnum):
    """Role is the author of a message."""

    USER = "user"
    """The person or program that asks."""
    ASSISTANT = "assistant"
    """Responsa."""


class Effect(StrEnum):
    """ToolEffect is what a call of a tool changes in other systems."""

    NONE = "none"
    """A call changes nothing."""
    IDEMPOTENT = "idempotent"
    """Several calls with the same idempotency key have the effect of one call."""
    ONCE = "once"
    """Every call has an effect. The server never repeats a call with an unknown outcome."""


class ToolFault(StrEnum):
    """ToolFault is the kind of failure of a tool call."""

    TIMEOUT = "timeout"
    """The tool returned no result within the time limit."""
    UNREACHABLE = "unreachable"
    """The tool could not be reached."""
    REFUSED = "refused"
    """The server's own rules forbid the call, e.g. because of its address, or because the turn has made all calls that
    its agent may make."""
    STATUS = "status"
    """The tool reports a failure."""
    MALFORMED = "malformed"
    """The tool's response cannot be read."""
    TOO_LARGE = "too_large"
    """The tool's response is too large."""
    SCHEMA = "schema"
    """The tool's result does not fit the tool's schema."""
    ARGUMENTS = "arguments"
    """The tool does not accept the arguments."""
    UNKNOWN_TOOL = "unknown_tool"
    """The agent has no such tool."""
    LOST = "lost"
    """The call began, and its result was lost."""
    PAUSED = "paused"
    """The tool has effects, and was not called: this instance was restored from a backup and is paused until `responsa
    activate`."""


class Step(StrEnum):
    """Step is the current work on a turn."""

    REWRITING = "rewriting"
    """Rewriting the question so that it can be understood without the conversation."""
    RETRIEVING = "retrieving"
    """Searching the documents."""
    GRADING = "grading"
    """Grading the passages that the search found."""
    GENERATING = "generating"
    """Writing the answer."""
    CALLING_TOOL = "calling_tool"
    """Calling a tool."""
    ROUTING = "routing"
    """Classifying the message."""
    VERIFYING = "verifying"
    """Checking the answer against its sources."""
    LOADING = "loading"
    """Waiting for a model whose first word is late, because its server may be loading it."""


class RefusalReason(StrEnum):
    """RefusalReason is the reason why a turn has no answer. A refusal is a result, not an error."""

    NO_SUPPORT = "no_support"
    """No passage that the caller may read is near, or a model found no answer in those that are."""
    OUT_OF_SCOPE = "out_of_scope"
    """The agent does not answer questions of this kind."""
    UNSAFE = "unsafe"
    """The model or its provider declined to answer."""
    BUDGET = "budget"
    """The answer would need more tokens, money or steps than the agent or the request allows."""
    QUOTA = "quota"
    """The answer would need more tokens or money than is left of the user's quota."""
    SOURCE_ERASED = "source_erased"
    """The answer quoted a document of a user who was deleted. The document was deleted too, and the answer was
    withdrawn; ask again."""
    NOT_PERMITTED = "not_permitted"
    """The caller may no longer read a document that the turn has read: the document is no longer shared with the
    caller, or it now has another subject. A turn has read a document if a passage of the document was sent to a
    language model or is named in the answer. The stored answer does not change: when the caller may read the document
    again, the calls return the answer again. A document that was deleted or has a newer version does not cause this
    refusal."""
    NEEDS_MODEL = "needs_model"
    """Only a language model can do what the message asks for, such as writing a post, and none is configured or
    available."""


class FallbackKind(StrEnum):
    """FallbackKind says what the server did when it could not do a step as intended."""

    WITHOUT_RETRIEVAL = "without_retrieval"
    """The documents could not be searched. The answer does not use documents, and says so."""
    TEXT_ONLY = "text_only"
    """No vectors were available; the search used words alone."""
    PROVIDER = "provider"
    """A model of the agent failed, and a later model in the agent's list answered."""
    TEMPLATE = "template"
    """A template, not a model, wrote the text."""
    CLASSIFIER = "classifier"
    """A trained classifier, not a language model, decided."""
    RULE = "rule"
    """A rule, not a language model, decided."""
    WITHOUT_SUMMARY = "without_summary"
    """The conversation's older messages could not be summarised and were left out."""
    PASSAGES = "passages"
    """No language model is configured, or none was available: the answer shows the best passages of the documents."""
    UNCITED = "uncited"
    """No mark of the answer names a passage or a result, so the answer has no citations."""
    WITHOUT_TOOL = "without_tool"
    """A tool could not be used, because only a language model can choose it and none was available. `source` names the
    tool."""
    WITHOUT_RERANKER = "without_reranker"
    """The reranking model failed; the search's own order was kept."""
    SEARCHED_AGAIN = "searched_again"
    """A server that continued the turn could not read a passage any more that the turn had found: the document is gone,
    or is no longer shared with the user. The documents were searched again."""
    OTHER_LANGUAGE = "other_language"
    """No searched document is in the question's language, and no model has translated it: only words and numbers that
    both have were searched. `source` is the question's language, and `target` those of most documents, at most two with
    a comma between them, as ISO 639-1 codes."""


class AnswerOutcome(StrEnum):
    """AnswerOutcome says whether an answer is complete."""

    COMPLETE = "complete"
    """The answer is complete."""
    OUTPUT_LIMIT = "output_limit"
    """The answer was cut because it reached a limit for answers (24 KiB or 64 citations) or the output limit of its
    model. Quotes are still whole sentences."""


class ToolOutcome(StrEnum):
    """ToolOutcome is the outcome of a tool call, as far as the server knows it."""

    OK = "ok"
    """The tool succeeded."""
    ERROR = "error"
    """The tool reported that it failed."""
    UNKNOWN = "unknown"
    """The call began, but its outcome is unknown, because the worker or the connection was lost. The server does not
    repeat the call."""


class CancelCause(StrEnum):
    """CancelCause is the person or event that cancelled a turn."""

    OWNER = "owner"
    """The user who asked."""
    ADMINISTRATOR = "administrator"
    """An administrator of the tenant."""
    INTERRUPT = "interrupt"
    """A newer question, asked in the same conversation with INTERRUPT."""
    DISCONNECT = "disconnect"
    """No client followed the turn any more, and its question was asked with cancel_on_disconnect."""


class Reason(StrEnum):
    """Reason is the reason for the failure of a call, a turn or an operation. The server sends a reason without the
    prefix `REASON_`, as the `reason` of a google.rpc.ErrorInfo with the domain `responsa`. Reasons are stable: programs
    may depend on them. Each comment gives the gRPC code and the metadata keys. If the call's or the turn's trace is
    recorded, the metadata of every reason also has trace_id, e.g. `0af7651916cd43dd8448eb211c80319c`."""

    INTERNAL = "INTERNAL"
    """INTERNAL. An unexpected error; the message is `Something went wrong. Please try again.` Metadata: call_id."""
    INVALID_FIELD = "INVALID_FIELD"
    """INVALID_ARGUMENT. One or more fields break a rule of the contract; BadRequest names up to 16 of these fields,
    each with a remedy. Metadata: violations, e.g. `2`."""
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    """INVALID_ARGUMENT. The request's bytes are not a valid message of its type, or contain text that is not UTF-8.
    Metadata: message_type, e.g. `responsa.chat.v1.AskRequest`, or `application/json` when the gateway refuses the
    request."""
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    """UNAUTHENTICATED. The call has neither an API key nor a session. Metadata: none."""
    CREDENTIAL_MALFORMED = "CREDENTIAL_MALFORMED"
    """UNAUTHENTICATED. The credential does not have the form of an API key or of a session, or a browser sent two
    different cookies of one name. Metadata: none."""
    CREDENTIAL_UNKNOWN = "CREDENTIAL_UNKNOWN"
    """UNAUTHENTICATED. The credential has the right form, but does not exist, or its user was deleted. Metadata:
    none."""
    CREDENTIAL_REVOKED = "CREDENTIAL_REVOKED"
    """UNAUTHENTICATED. The API key was revoked. Metadata: api_key, e.g. `apiKeys/0192f3c8-…`."""
    CREDENTIAL_EXPIRED = "CREDENTIAL_EXPIRED"
    """UNAUTHENTICATED. The session or the API key has expired. Metadata: none."""
    CREDENTIAL_OF_OTHER_USER = "CREDENTIAL_OF_OTHER_USER"
    """UNAUTHENTICATED. The header responsa-user (over gRPC, a metadata key) names a user other than the one for whom
    the call would be made, so nothing was done. In a browser, somebody else may have signed in. Metadata: none."""
    ROLE_REQUIRED = "ROLE_REQUIRED"
    """PERMISSION_DENIED. The call needs a role that the caller does not have. Metadata: required_role, e.g. `ADMIN`."""
    SCOPE_REQUIRED = "SCOPE_REQUIRED"
    """PERMISSION_DENIED. The call is made by a program that a user has connected (OAuth), and the user has not allowed
    it to do this. Metadata: required_scope, e.g. `ask`, empty if no scope allows the call; scope, all scopes to ask
    for, e.g. `ask search`."""
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    """NOT_FOUND. The resource does not exist, or the caller may not see it; the error is the same in both cases.
    Metadata: resource_type, e.g. `conversation`; resource_name, e.g. `conversations/0192f3c8-…`; known (only for
    agents: the ids of all agents), e.g. `chat,default,tutor`."""
    SOURCE_CHANGED = "SOURCE_CHANGED"
    """NOT_FOUND. The document has changed since the turn, so the passage is no longer searched. Metadata: passage;
    document_version, the one that the turn read."""
    SOURCE_DELETED = "SOURCE_DELETED"
    """NOT_FOUND. The document has been deleted since the turn. Metadata: passage; document_version."""
    RESOURCE_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
    """ALREADY_EXISTS. A resource with this name already exists. Metadata: resource_type, resource_name."""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """ALREADY_EXISTS. The request_id was used before with a different body. Metadata: request_id; resource_name (the
    resource that the first call created); difference (the first field that differs), e.g. `text`."""
    CONVERSATION_BUSY = "CONVERSATION_BUSY"
    """ABORTED. The conversation has a turn that has not ended. Metadata: conversation; active_turn, e.g.
    `turns/0192f3c8-…`."""
    ETAG_MISMATCH = "ETAG_MISMATCH"
    """ABORTED. The resource has changed since its etag was read. Metadata: resource_name."""
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"
    """INVALID_ARGUMENT. The page token is not valid, or belongs to another list or to another parent, filter or order.
    Metadata: none."""
    FILTER_INVALID = "FILTER_INVALID"
    """INVALID_ARGUMENT. The filter is malformed, or uses a field that the list cannot filter by. Metadata: filterable,
    e.g. `state,title`."""
    ORDER_BY_INVALID = "ORDER_BY_INVALID"
    """INVALID_ARGUMENT. The order_by is malformed, or uses a field that the list cannot order by. Metadata: orderable,
    e.g. `create_time`."""
    UPDATE_MASK_INVALID = "UPDATE_MASK_INVALID"
    """INVALID_ARGUMENT. The update_mask names a field that cannot be changed; or it is empty, and the resource has no
    value in a field that can be changed. Metadata: updatable, e.g. `title,labels`."""
    DOCUMENT_EMPTY = "DOCUMENT_EMPTY"
    """INVALID_ARGUMENT. The document has no text. Metadata: source_key."""
    DOCUMENT_TYPE_UNSUPPORTED = "DOCUMENT_TYPE_UNSUPPORTED"
    """INVALID_ARGUMENT. The server does not support documents of this type. Metadata: source_key; media_type, e.g.
    `application/pdf`; accepted (the media types that the server reads)."""
    DOCUMENT_TYPE_MISMATCH = "DOCUMENT_TYPE_MISMATCH"
    """INVALID_ARGUMENT. The bytes do not match the declared type, or the type that the document's name suggests.
    Metadata: source_key; media_type; accepted (the media types that the server reads)."""
    DOCUMENT_TOO_LARGE = "DOCUMENT_TOO_LARGE"
    """INVALID_ARGUMENT. The document is larger than the server accepts. Metadata: source_key (absent when the gateway
    refuses the document: the gateway does not read source keys); limit_bytes, e.g. `67108864`."""
    DOCUMENT_MALFORMED = "DOCUMENT_MALFORMED"
    """INVALID_ARGUMENT. The document's bytes are not valid for its type. Metadata: source_key."""
    DOCUMENT_PARSER_LIMIT = "DOCUMENT_PARSER_LIMIT"
    """INVALID_ARGUMENT. Reading the document would need more memory, time or nesting than the limits allow. Metadata:
    source_key."""
    UPLOAD_METADATA_MISSING = "UPLOAD_METADATA_MISSING"
    """INVALID_ARGUMENT. The first message of an upload has no metadata, or a later message has metadata. Metadata:
    none."""
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    """INVALID_ARGUMENT. The upload ended without `finish`, or the received bytes differ from the bytes that the client
    announced. Metadata: size_bytes; received_bytes."""
    SESSION_CODE_INVALID = "SESSION_CODE_INVALID"
    """UNAUTHENTICATED. The session code was already used, has expired or does not exist. Metadata: none."""
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    """PERMISSION_DENIED. The server does not accept the Host of the call, or the Origin of the page that sent the call,
    or the key of a widget is not used on a page of its origins, or nothing shows that an own page of the server sent a
    change with the cookie of a session. Metadata: none."""
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    """NOT_FOUND (over gRPC: UNIMPLEMENTED). The method or path does not exist. Metadata: none."""
    OVERLOADED = "OVERLOADED"
    """RESOURCE_EXHAUSTED. The server has reached a limit; RetryInfo says when to try again. Metadata: limit, e.g. `64`
    (absent when the gateway refuses the call)."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """DEADLINE_EXCEEDED. The caller's deadline passed, or the request did not arrive in time. An accepted turn
    continues. Metadata: none."""
    PART_UNAVAILABLE = "PART_UNAVAILABLE"
    """UNAVAILABLE. A part that the call needs cannot be reached. Metadata: part, e.g. `postgresql`, or `server` when
    the gateway cannot reach the server."""
    DRAINING = "DRAINING"
    """UNAVAILABLE. The server is shutting down; repeat the call, on another server or after the restart. Metadata:
    none."""
    STORAGE_FULL = "STORAGE_FULL"
    """RESOURCE_EXHAUSTED. A disk is full, so nothing was stored. Try again when the operator has freed space. Metadata:
    part: `postgresql` (the disk of the database), or `disk` (that of the server, on which large uploads and parsed
    documents wait)."""
    WORKER_LOST = "WORKER_LOST"
    """UNAVAILABLE, in a turn's `failed` event or as an operation's error. The workers that ran the turn or the
    operation were lost; ask again, or begin the operation again. Metadata: turn, or operation."""
    TURN_TIME_LIMIT = "TURN_TIME_LIMIT"
    """DEADLINE_EXCEEDED, in a turn's `failed` event. The turn took longer than its agent allows. Metadata: turn;
    limit_seconds."""
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    """CANCELLED, in an operation's error. A call cancelled the operation. Metadata: operation."""
    COLLECTION_NOT_EMPTY = "COLLECTION_NOT_EMPTY"
    """FAILED_PRECONDITION. A collection that still has documents can be deleted only with `force`. A user who owns a
    collection with documents of other users can be deleted only if the call names a user who receives the collections,
    or after these documents are deleted. Metadata: collection; documents, e.g. `3`."""
    OPERATION_RUNNING = "OPERATION_RUNNING"
    """FAILED_PRECONDITION. The operation has not ended, so it cannot be deleted. Metadata: operation."""
    CANCELLED = "CANCELLED"
    """CANCELLED. The caller ended the call. Metadata: none."""
    COLLECTION_EMBEDDING_DIFFERS = "COLLECTION_EMBEDDING_DIFFERS"
    """FAILED_PRECONDITION, also in an operation's error. The settings no longer declare the embedding model of the
    collection's vectors; declare it again, or call ReindexCollection. Metadata: collection; embedding (the collection's
    model); running (the model of new collections)."""
    AFTER_SEQ_BEYOND_END = "AFTER_SEQ_BEYOND_END"
    """OUT_OF_RANGE. The after_seq is beyond the end of the turn's log, or beyond the newest state of the operation.
    Metadata: turn or operation; last_seq, e.g. `12`."""
    QUEUE_FULL = "QUEUE_FULL"
    """RESOURCE_EXHAUSTED. The conversation's queue is full; RetryInfo says when to try again. Metadata: conversation;
    limit, e.g. `8`."""
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    """UNAVAILABLE, in a turn's `failed` event, and of GenerateText. The model's server could not be reached, or its
    response was cut; ask again. Metadata: model; cause, e.g. `rate_limited`."""
    TEACHER_ID_MALFORMED = "TEACHER_ID_MALFORMED"
    """INVALID_ARGUMENT. The parameter teacher_id is neither a UUID nor `teachers/{uuid}`. Metadata: teacher_id (its
    first 64 characters)."""
    TEACHER_NOT_FOUND = "TEACHER_NOT_FOUND"
    """NOT_FOUND. The teacher does not exist. In a turn's `failed` event: the teacher was deleted after the question was
    asked. Metadata: resource_type, `teacher`; resource_name, e.g. `teachers/0192f3c8-…`."""
    PARAMETERS_INVALID = "PARAMETERS_INVALID"
    """INVALID_ARGUMENT. The parameters do not match the agent's schema; BadRequest names up to 16 parameters, each with
    a remedy. Metadata: agent; violations, e.g. `1`."""
    DOCUMENT_ENCRYPTED = "DOCUMENT_ENCRYPTED"
    """INVALID_ARGUMENT. The document can be opened only with a password. Metadata: source_key."""
    PAGES_UNSUPPORTED = "PAGES_UNSUPPORTED"
    """FAILED_PRECONDITION. The server can render pages only for PDF documents. Metadata: document_version; media_type,
    e.g. `text/markdown`."""
    PAGE_OUT_OF_RANGE = "PAGE_OUT_OF_RANGE"
    """OUT_OF_RANGE. The document has no page with this number. Metadata: document_version; page_count, e.g. `12`."""
    ORIGINAL_NOT_STORED = "ORIGINAL_NOT_STORED"
    """FAILED_PRECONDITION. The server could not read any version of the document, so the server has not kept its bytes.
    Upload the document again. Metadata: document."""
    EMBEDDING_FAILED = "EMBEDDING_FAILED"
    """FAILED_PRECONDITION, also in an operation's error. The server of the embedding model refused the request, or its
    vectors cannot be used. Metadata: embedding, e.g. `openai:text-embedding-3-small`; cause: `credential`, `refused`,
    `malformed`, `dimensions`, `vector_count`, `vector_length`, `vector_not_finite` or `vector_zero`."""
    EMBEDDING_UNKNOWN = "EMBEDDING_UNKNOWN"
    """INVALID_ARGUMENT. The server's settings do not declare this embedding model. Metadata: embedding."""
    REINDEX_RUNNING = "REINDEX_RUNNING"
    """FAILED_PRECONDITION. Another operation is already building or activating a generation of the collection; wait
    until it finishes, or cancel it. Metadata: collection; operation."""
    GENERATION_STATE = "GENERATION_STATE"
    """FAILED_PRECONDITION. The state of the generation does not allow the call, or the collection cannot have a further
    generation. Metadata: generation, e.g. `collections/notes/generations/2`; state, e.g. `active`."""
    READ_OFFSET_BEYOND_END = "READ_OFFSET_BEYOND_END"
    """OUT_OF_RANGE. The read_offset is beyond the end of the document's text. Metadata: document_version; text_bytes,
    e.g. `1048576`."""
    USER_DISABLED = "USER_DISABLED"
    """UNAUTHENTICATED. An administrator disabled the caller's account. The account works again once an administrator
    enables it. Open streams of the user end with this error within a second. Metadata: none."""
    LAST_ADMINISTRATOR = "LAST_ADMINISTRATOR"
    """FAILED_PRECONDITION. The tenant would have no enabled administrator; give another user the role ADMIN first.
    Metadata: user, e.g. `users/0192f3c8-…`."""
    SIGN_IN_FAILED = "SIGN_IN_FAILED"
    """UNAUTHENTICATED. The e-mail address or the password is wrong. Metadata: none."""
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    """RESOURCE_EXHAUSTED. Too many attempts have failed; RetryInfo says when to try again. Metadata: none."""
    TOKEN_INVALID = "TOKEN_INVALID"
    """UNAUTHENTICATED. The access token or the refresh token is malformed, has expired or comes from another server, or
    its session has ended. Refresh the access token, or sign in again. Metadata: none."""
    SESSION_ENDED = "SESSION_ENDED"
    """UNAUTHENTICATED. The session or the API key ended while the stream was open; sign in again. Metadata: none."""
    ROLE_CHANGED = "ROLE_CHANGED"
    """UNAVAILABLE. The role of the caller changed while the stream was open; make the call again, or resume. Metadata:
    none."""
    SIGN_IN_REQUIRED = "SIGN_IN_REQUIRED"
    """PERMISSION_DENIED. The call needs a sign-in within the last ten minutes; a session that began with an API key
    counts only if the user has neither a password nor an OpenID Connect provider. Metadata: none."""
    CODE_INVALID = "CODE_INVALID"
    """UNAUTHENTICATED. The code of an invitation, a password reset or an e-mail confirmation was already used, has
    expired or is unknown. Metadata: none."""
    REGISTRATION_CLOSED = "REGISTRATION_CLOSED"
    """PERMISSION_DENIED. The settings do not allow this registration. Metadata: registration, e.g. `closed`."""
    PASSWORD_NOT_USABLE = "PASSWORD_NOT_USABLE"
    """FAILED_PRECONDITION. The user cannot sign in with a password, because the user has no e-mail address or has the
    role service. The call also fails with this reason if it needs the user's password, and the user has no password.
    Metadata: user."""
    RESOURCE_LOCKED = "RESOURCE_LOCKED"
    """ABORTED. Other calls kept the resource locked for five seconds, so nothing was deleted; try again. Metadata:
    resource_name, e.g. `documents/0192f3c8-…`."""
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    """PERMISSION_DENIED. The owner of the installation suspended the caller's tenant. Open streams of its users end
    with this error within a second. Metadata: tenant, e.g. `tenants/acme`."""
    LAST_OWNER = "LAST_OWNER"
    """FAILED_PRECONDITION. The installation would have no enabled owner; make another administrator an owner first.
    Metadata: user, e.g. `users/0192f3c8-…`."""
    GRANT_REQUIRED = "GRANT_REQUIRED"
    """PERMISSION_DENIED. The service may not act on behalf of this user: there is no grant, or the user does not exist,
    is disabled or does not have the role USER. Open streams end with this error within a second after the change.
    Metadata: user, e.g. `users/0192f3c8-…`."""
    ON_BEHALF_NOT_ALLOWED = "ON_BEHALF_NOT_ALLOWED"
    """PERMISSION_DENIED. Only a service with an API key may send the header responsa-on-behalf-of (over gRPC, a
    metadata key). Calls about a user's account and credentials must not have this header. Metadata: none."""
    TENANT_STATE = "TENANT_STATE"
    """FAILED_PRECONDITION. The state of the tenant does not allow the call: the installation's own tenant cannot be
    suspended or erased, and an erasure cannot be stopped. Metadata: tenant, e.g. `tenants/acme`; state, e.g.
    `erasing`."""
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    """RESOURCE_EXHAUSTED. A quota of the caller has too little left for the question; nothing was recorded, and the
    request_id is free. QuotaFailure names the quota. RetryInfo says when to try again: when the quota resets, or soon
    if open turns have reserved the rest of the quota. RetryInfo is missing if the question needs more than the whole
    quota. Metadata: user; quota, `tokens_per_day`, `tokens_per_month`, `cost_usd_micros_per_day` or
    `cost_usd_micros_per_month`; limit, used and reserved, e.g. `100000`; reset_time, e.g. `2026-05-02T00:00:00Z`, or
    empty if waiting for the reset is not necessary or does not help."""
    OIDC_FAILED = "OIDC_FAILED"
    """UNAUTHENTICATED. A sign-in with OpenID Connect failed: it took too long, was repeated, was refused by the
    provider or was not begun in this browser, or the provider's reply is not valid. Or a link was not begun in this
    session. The reason does not say more; the server's log does. Metadata: none."""
    OIDC_NOT_ADMITTED = "OIDC_NOT_ADMITTED"
    """PERMISSION_DENIED. The provider has identified the person, but the person may not sign in here. Either the
    account is disabled, or the person has no role, or the person has no account, no invitation and no address of an
    allowed domain. Metadata: none."""
    OIDC_ADDRESS_TAKEN = "OIDC_ADDRESS_TAKEN"
    """ALREADY_EXISTS. The person signs in with OpenID Connect for the first time, but a user of the tenant already has
    the same e-mail address. Metadata: none."""
    OIDC_IDENTITY_TAKEN = "OIDC_IDENTITY_TAKEN"
    """ALREADY_EXISTS. The identity at the provider belongs to another user of the tenant. Metadata: none."""
    LAST_SIGN_IN = "LAST_SIGN_IN"
    """FAILED_PRECONDITION. Without this identity, the user could not sign in any more; first set a password or connect
    another provider. Metadata: user, e.g. `users/0192f3c8-…`."""
    RATE_LIMIT = "RATE_LIMIT"
    """RESOURCE_EXHAUSTED. The caller has used up a limit for a period, such as a minute. Nothing was recorded;
    RetryInfo says when to try again. Metadata: limit, e.g. `messages_per_minute`; scope: `user`, `service`, `tenant`,
    `address` or `key` (of a widget); value, e.g. `10`."""
    LIMIT_REACHED = "LIMIT_REACHED"
    """RESOURCE_EXHAUSTED. The caller has reached the limit on the number of something, such as streams, conversations
    or stored bytes. Nothing was recorded. If waiting can help, RetryInfo says when to try again. Metadata: limit, e.g.
    `streams`; scope: `user`, `service`, `tenant` or `address`; value, e.g. `64`."""
    MAIL_NOT_CONFIGURED = "MAIL_NOT_CONFIGURED"
    """FAILED_PRECONDITION. The call sends a mail, but the settings of the server name no mail server; ask an
    administrator. Metadata: none."""
    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"
    """FAILED_PRECONDITION, also in an operation's error. The database of a source cannot be read. Metadata: connection,
    e.g. `hr`; query, e.g. `people`; fault: `UNREACHABLE`, `LOGIN`, `MAY_WRITE`, `OWN_DATABASE`, `NOT_GRANTED`,
    `TIMEOUT`, `QUERY`, `TOO_LARGE`, `BUDGET`, `CRASHED`, `SCHEMA` or `PAUSED` (docs/sources.md)."""
    SOURCE_RUNNING = "SOURCE_RUNNING"
    """FAILED_PRECONDITION. A run of the source for all subjects has not ended yet. Metadata: source, e.g.
    `sources/people`; operation, e.g. `operations/0192f3c8-…`."""
    SOURCE_DELETIONS = "SOURCE_DELETIONS"
    """FAILED_PRECONDITION, in an operation's error. A run of a source would delete more documents of the source than
    the source's mapping allows. The run changed nothing. Metadata: source, e.g. `sources/people`; deletions and
    documents, e.g. `120`."""
    ATTEMPT_RESTARTED = "ATTEMPT_RESTARTED"
    """UNAVAILABLE, only over OpenAI's API, whose wire cannot take text back. A part of the answer was sent and then
    withdrawn, because another worker took the turn over, or another model wrote the answer anew. Repeat the request
    with the same Idempotency-Key for the whole answer. Metadata: none."""
    MODEL_FIXED = "MODEL_FIXED"
    """FAILED_PRECONDITION. The default model cannot be set, because the operator has fixed it. Metadata: setting, e.g.
    `models.default`."""
    MODEL_TEST_FAILED = "MODEL_TEST_FAILED"
    """FAILED_PRECONDITION. The test of the model failed, so nothing was stored. Metadata: outcome, a ModelTestOutcome
    without its prefix, e.g. `KEY_MISSING`."""
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    """FAILED_PRECONDITION. A quota or budget is in money, and the price of the model is not known, so it cannot be
    chosen or asked. Metadata: model, e.g. `compatible:house-large`."""
    AGENT_VERSION_UNFIT = "AGENT_VERSION_UNFIT"
    """FAILED_PRECONDITION. This server cannot run the version of the agent, because its release, its models or its
    parts have changed. Ask for another version. Metadata: agent_version, e.g. `agents/chat/versions/3`; cause, e.g.
    `agent.toml: model.chain: the model “openai:gpt-5” is not available`."""
    AGENT_VERSION_NOT_PUBLISHED = "AGENT_VERSION_NOT_PUBLISHED"
    """FAILED_PRECONDITION. The version cannot be rolled back, because it is not the one that was published last.
    Metadata: agent_version, e.g. `agents/chat/versions/3`."""
    EXPERIMENT_RUNNING = "EXPERIMENT_RUNNING"
    """FAILED_PRECONDITION. An experiment with the agent is still running. Stop it, or wait until it ends. Metadata:
    experiment, e.g. `experiments/0197…`."""
    EXPERIMENT_PARAMETERS_DIFFER = "EXPERIMENT_PARAMETERS_DIFFER"
    """FAILED_PRECONDITION. The versions have other parameters, so users could not tell which ones to send. Metadata:
    baseline and candidate, e.g. `agents/chat/versions/3`."""
    AGENT_WITHOUT_MODEL = "AGENT_WITHOUT_MODEL"
    """FAILED_PRECONDITION. The agent has no language model that could write a text; ask an agent that has one.
    Metadata: agent, e.g. `agents/default`."""
    EXTRA_NOT_INSTALLED = "EXTRA_NOT_INSTALLED"
    """FAILED_PRECONDITION. The server is installed without a part that the call needs. Its operator installs the extra.
    Metadata: extra, e.g. `etl`."""


class DocumentState(StrEnum):
    """DocumentState is the state of a document's newest version."""

    INDEXING = "indexing"
    """The version is being read and indexed. Searches use the previous version, if there is one."""
    READY = "ready"
    """Searches use the version."""
    FAILED = "failed"
    """The version could not be indexed. Searches use the previous version, if there is one."""


class IngestStage(StrEnum):
    """IngestStage is a stage of storing and indexing a document."""

    QUEUED = "queued"
    """The operation waits for a worker."""
    PARSING = "parsing"
    """A worker is reading the document."""
    EMBEDDING = "embedding"
    """A worker is computing vectors."""
    DONE = "done"
    """The operation has ended: the document can be searched, was unchanged, or could not be indexed."""


class LeftOutKind(StrEnum):
    """LeftOutKind is a kind of what a file has and the text of its document does not."""

    COMMENT = "comment"
    """A comment of a reviewer."""
    HIDDEN_SHEET = "hidden_sheet"
    """A hidden sheet."""
    HIDDEN_SLIDE = "hidden_slide"
    """A hidden slide."""
    PICTURE = "picture"
    """A picture."""
    CHART = "chart"
    """A chart."""
    EMBEDDED_FILE = "embedded_file"
    """A file inside the file, such as an embedded workbook or an attachment of a message."""
    SCANNED_PAGE = "scanned_page"
    """A page of a PDF that has pictures and no text, such as a scan. The setting `ingestion.ocr` lets the server read
    such pages."""
    FORMULA = "formula"
    """A formula that was saved without its result and cannot be computed, or whose result depends on the day or on
    chance."""
    UNPAIRED_QUOTE = "unpaired_quote"
    """A row of a CSV file with a quotation mark that does not close, or that text follows. The row is read with this
    mark as a character."""
    HIDDEN_TEXT = "hidden_text"
    """A text that the file has and its pages do not show: it is hidden, invisible, cut off or covered."""
    NAVIGATION = "navigation"
    """A part around the content of a page: navigation, a header or footer of the site, a notice about cookies, or a
    table of contents."""
    UNCERTAIN_TABLE = "uncertain_table"
    """A table of a PDF whose cells are uncertain. Its lines are read as lines of text, not as rows."""
    FOREIGN_LINE = "foreign_line"
    """A line of a CSV file in another character set than the others. The line is read with a guess, and its place says
    so."""
    NUMBER_FORMAT = "number_format"
    """A number of a workbook whose number format is not read, such as that of an .xls file. The number is read as it is
    stored."""


class GenerationState(StrEnum):
    """GenerationState is the state of a generation."""

    BUILDING = "building"
    """An operation adds vectors to the generation."""
    READY = "ready"
    """The generation was complete when its operation ended, and was never active."""
    ACTIVE = "active"
    """Searches use the generation. Each collection has exactly one such generation."""
    RETIRED = "retired"
    """Searches used the generation before another one became active. The generation lacks the documents that were added
    since then."""
    FAILED = "failed"
    """The operation failed. The generation has no vectors."""


class SearchMode(StrEnum):
    """SearchMode says whether a search uses words, vectors or both."""

    HYBRID = "hybrid"
    """The search uses words and vectors; the score adds both."""
    VECTOR = "vector"
    """The search uses vectors only."""
    TEXT = "text"
    """The search uses words only."""


REASON_CODES: Final[Mapping[Reason, str]] = {
    Reason.INTERNAL: "INTERNAL",
    Reason.INVALID_FIELD: "INVALID_ARGUMENT",
    Reason.MALFORMED_MESSAGE: "INVALID_ARGUMENT",
    Reason.CREDENTIAL_MISSING: "UNAUTHENTICATED",
    Reason.CREDENTIAL_MALFORMED: "UNAUTHENTICATED",
    Reason.CREDENTIAL_UNKNOWN: "UNAUTHENTICATED",
    Reason.CREDENTIAL_REVOKED: "UNAUTHENTICATED",
    Reason.CREDENTIAL_EXPIRED: "UNAUTHENTICATED",
    Reason.CREDENTIAL_OF_OTHER_USER: "UNAUTHENTICATED",
    Reason.ROLE_REQUIRED: "PERMISSION_DENIED",
    Reason.SCOPE_REQUIRED: "PERMISSION_DENIED",
    Reason.RESOURCE_NOT_FOUND: "NOT_FOUND",
    Reason.SOURCE_CHANGED: "NOT_FOUND",
    Reason.SOURCE_DELETED: "NOT_FOUND",
    Reason.RESOURCE_ALREADY_EXISTS: "ALREADY_EXISTS",
    Reason.REQUEST_ID_REUSED: "ALREADY_EXISTS",
    Reason.CONVERSATION_BUSY: "ABORTED",
    Reason.ETAG_MISMATCH: "ABORTED",
    Reason.PAGE_TOKEN_INVALID: "INVALID_ARGUMENT",
    Reason.FILTER_INVALID: "INVALID_ARGUMENT",
    Reason.ORDER_BY_INVALID: "INVALID_ARGUMENT",
    Reason.UPDATE_MASK_INVALID: "INVALID_ARGUMENT",
    Reason.DOCUMENT_EMPTY: "INVALID_ARGUMENT",
    Reason.DOCUMENT_TYPE_UNSUPPORTED: "INVALID_ARGUMENT",
    Reason.DOCUMENT_TYPE_MISMATCH: "INVALID_ARGUMENT",
    Reason.DOCUMENT_TOO_LARGE: "INVALID_ARGUMENT",
    Reason.DOCUMENT_MALFORMED: "INVALID_ARGUMENT",
    Reason.DOCUMENT_PARSER_LIMIT: "INVALID_ARGUMENT",
    Reason.UPLOAD_METADATA_MISSING: "INVALID_ARGUMENT",
    Reason.UPLOAD_INCOMPLETE: "INVALID_ARGUMENT",
    Reason.SESSION_CODE_INVALID: "UNAUTHENTICATED",
    Reason.ORIGIN_NOT_ALLOWED: "PERMISSION_DENIED",
    Reason.ROUTE_NOT_FOUND: "NOT_FOUND",
    Reason.OVERLOADED: "RESOURCE_EXHAUSTED",
    Reason.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    Reason.PART_UNAVAILABLE: "UNAVAILABLE",
    Reason.DRAINING: "UNAVAILABLE",
    Reason.STORAGE_FULL: "RESOURCE_EXHAUSTED",
    Reason.WORKER_LOST: "UNAVAILABLE",
    Reason.TURN_TIME_LIMIT: "DEADLINE_EXCEEDED",
    Reason.OPERATION_CANCELLED: "CANCELLED",
    Reason.COLLECTION_NOT_EMPTY: "FAILED_PRECONDITION",
    Reason.OPERATION_RUNNING: "FAILED_PRECONDITION",
    Reason.CANCELLED: "CANCELLED",
    Reason.COLLECTION_EMBEDDING_DIFFERS: "FAILED_PRECONDITION",
    Reason.AFTER_SEQ_BEYOND_END: "OUT_OF_RANGE",
    Reason.QUEUE_FULL: "RESOURCE_EXHAUSTED",
    Reason.MODEL_UNAVAILABLE: "UNAVAILABLE",
    Reason.TEACHER_ID_MALFORMED: "INVALID_ARGUMENT",
    Reason.TEACHER_NOT_FOUND: "NOT_FOUND",
    Reason.PARAMETERS_INVALID: "INVALID_ARGUMENT",
    Reason.DOCUMENT_ENCRYPTED: "INVALID_ARGUMENT",
    Reason.PAGES_UNSUPPORTED: "FAILED_PRECONDITION",
    Reason.PAGE_OUT_OF_RANGE: "OUT_OF_RANGE",
    Reason.ORIGINAL_NOT_STORED: "FAILED_PRECONDITION",
    Reason.EMBEDDING_FAILED: "FAILED_PRECONDITION",
    Reason.EMBEDDING_UNKNOWN: "INVALID_ARGUMENT",
    Reason.REINDEX_RUNNING: "FAILED_PRECONDITION",
    Reason.GENERATION_STATE: "FAILED_PRECONDITION",
    Reason.READ_OFFSET_BEYOND_END: "OUT_OF_RANGE",
    Reason.USER_DISABLED: "UNAUTHENTICATED",
    Reason.LAST_ADMINISTRATOR: "FAILED_PRECONDITION",
    Reason.SIGN_IN_FAILED: "UNAUTHENTICATED",
    Reason.TOO_MANY_ATTEMPTS: "RESOURCE_EXHAUSTED",
    Reason.TOKEN_INVALID: "UNAUTHENTICATED",
    Reason.SESSION_ENDED: "UNAUTHENTICATED",
    Reason.ROLE_CHANGED: "UNAVAILABLE",
    Reason.SIGN_IN_REQUIRED: "PERMISSION_DENIED",
    Reason.CODE_INVALID: "UNAUTHENTICATED",
    Reason.REGISTRATION_CLOSED: "PERMISSION_DENIED",
    Reason.PASSWORD_NOT_USABLE: "FAILED_PRECONDITION",
    Reason.RESOURCE_LOCKED: "ABORTED",
    Reason.TENANT_SUSPENDED: "PERMISSION_DENIED",
    Reason.LAST_OWNER: "FAILED_PRECONDITION",
    Reason.GRANT_REQUIRED: "PERMISSION_DENIED",
    Reason.ON_BEHALF_NOT_ALLOWED: "PERMISSION_DENIED",
    Reason.TENANT_STATE: "FAILED_PRECONDITION",
    Reason.QUOTA_EXHAUSTED: "RESOURCE_EXHAUSTED",
    Reason.OIDC_FAILED: "UNAUTHENTICATED",
    Reason.OIDC_NOT_ADMITTED: "PERMISSION_DENIED",
    Reason.OIDC_ADDRESS_TAKEN: "ALREADY_EXISTS",
    Reason.OIDC_IDENTITY_TAKEN: "ALREADY_EXISTS",
    Reason.LAST_SIGN_IN: "FAILED_PRECONDITION",
    Reason.RATE_LIMIT: "RESOURCE_EXHAUSTED",
    Reason.LIMIT_REACHED: "RESOURCE_EXHAUSTED",
    Reason.MAIL_NOT_CONFIGURED: "FAILED_PRECONDITION",
    Reason.SOURCE_UNREADABLE: "FAILED_PRECONDITION",
    Reason.SOURCE_RUNNING: "FAILED_PRECONDITION",
    Reason.SOURCE_DELETIONS: "FAILED_PRECONDITION",
    Reason.ATTEMPT_RESTARTED: "UNAVAILABLE",
    Reason.MODEL_FIXED: "FAILED_PRECONDITION",
    Reason.MODEL_TEST_FAILED: "FAILED_PRECONDITION",
    Reason.PRICE_UNKNOWN: "FAILED_PRECONDITION",
    Reason.AGENT_VERSION_UNFIT: "FAILED_PRECONDITION",
    Reason.AGENT_VERSION_NOT_PUBLISHED: "FAILED_PRECONDITION",
    Reason.EXPERIMENT_RUNNING: "FAILED_PRECONDITION",
    Reason.EXPERIMENT_PARAMETERS_DIFFER: "FAILED_PRECONDITION",
    Reason.AGENT_WITHOUT_MODEL: "FAILED_PRECONDITION",
    Reason.EXTRA_NOT_INSTALLED: "FAILED_PRECONDITION",
}
"""The gRPC code of each reason, with which its comment begins."""


PATTERNS: Final[Mapping[str, str]] = {
    "AuditEvent": "auditEvents/{audit_event}",
    "Delivery": "deliveries/{delivery}",
    "Experiment": "experiments/{experiment}",
    "Group": "groups/{group}",
    "QuestionPattern": "questionPatterns/{question_pattern}",
    "Program": "programs/{program}",
    "AskedProgram": "askedPrograms/{asked_program}",
    "ServiceGrant": "serviceGrants/{service_grant}",
    "Source": "sources/{source}",
    "Teacher": "teachers/{teacher}",
    "Tenant": "tenants/{tenant}",
    "UserLimits": "users/{user}/limits",
    "UserQuota": "users/{user}/quota",
    "ApiKey": "apiKeys/{api_key}",
    "Invitation": "invitations/{invitation}",
    "Session": "sessions/{session}",
    "OidcProvider": "oidcProviders/{oidc_provider}",
    "Identity": "identities/{identity}",
    "User": "users/{user}",
    "Agent": "agents/{agent}",
    "AgentVersion": "agents/{agent}/versions/{version}",
    "Conversation": "conversations/{conversation}",
    "Feedback": "messages/{message}/feedback",
    "Message": "messages/{message}",
    "Share": "shares/{share}",
    "Tool": "tools/{tool}",
    "Turn": "turns/{turn}",
    "Collection": "collections/{collection}",
    "Operation": "operations/{operation}",
    "Document": "documents/{document}",
    "Passage": "passages/{passage}",
    "DocumentVersion": "documents/{document}/versions/{version}",
    "Generation": "collections/{collection}/generations/{generation}",
}
"""The pattern of the names of each type of resource."""


MAX_BYTES: Final[Mapping[str, int]] = {
    "AnswerRequest.text": 16384,
    "ApiKey.display_name": 200,
    "AskRequest.text": 16384,
    "ChangePasswordRequest.current_password": 256,
    "ChangePasswordRequest.new_password": 256,
    "Citation.quote": 1024,
    "Collection.display_name": 200,
    "Collection.synonyms": 32768,
    "ConfirmEmailRequest.code": 64,
    "ConfirmEmailRequest.password": 256,
    "ConnectedFolder.address": 2048,
    "ConnectedFolder.password": 1024,
    "ConnectedFolder.schedule": 200,
    "ConnectedFolder.time_zone": 64,
    "Conversation.title": 200,
    "CreateDocumentRequest.text": 1048576,
    "CreateInvitationRequest.email": 254,
    "CreateTenantRequest.administrator_name": 200,
    "CreateTenantRequest.display_name": 200,
    "CreateTenantRequest.invitation_email": 254,
    "DefaultModel.api_key": 1024,
    "DefaultModel.base_url": 2048,
    "DeleteMeRequest.hand_over_to": 254,
    "DeleteUserRequest.hand_over_to": 254,
    "Document.subject": 200,
    "DocumentMetadata.media_type": 255,
    "DocumentMetadata.source_key": 1024,
    "DocumentMetadata.subject": 200,
    "DocumentMetadata.title": 512,
    "DocumentMetadata.uri": 2048,
    "EarlierMessage.text": 65536,
    "EmbedTextsRequest.embedding": 255,
    "EraseTenantRequest.confirm_tenant_id": 63,
    "GenerateTextRequest.instructions": 65536,
    "GenerateTextRequest.json_schema": 32768,
    "GetSubjectProfileRequest.subject": 200,
    "Group.display_name": 200,
    "InviteTenantAdministratorRequest.invitation_email": 254,
    "ListSignInMethodsRequest.tenant": 71,
    "LoginRequest.email": 254,
    "LoginRequest.password": 256,
    "LoginRequest.tenant": 71,
    "LogoutRequest.refresh_token": 64,
    "LookupUserRequest.email": 254,
    "NotifySubjectChangedRequest.cause": 200,
    "NotifySubjectChangedRequest.subject": 255,
    "PreviewSourceRequest.mapping": 131072,
    "PreviewSourceRequest.subject": 255,
    "Program.display_name": 200,
    "Program.document_uri": 2048,
    "ProviderGroup.issuer": 512,
    "ProviderGroup.value": 256,
    "QuestionPattern.note": 2048,
    "Reader.email": 254,
    "RefreshTokenRequest.refresh_token": 64,
    "RegisterRequest.display_name": 200,
    "RegisterRequest.email": 254,
    "RegisterRequest.invitation": 64,
    "RegisterRequest.password": 256,
    "RegisterRequest.tenant": 71,
    "ReindexCollectionRequest.embedding": 256,
    "RequestResetRequest.email": 254,
    "RequestResetRequest.tenant": 71,
    "ResetPasswordRequest.code": 64,
    "ResetPasswordRequest.new_password": 256,
    "ResolveFeedbackRequest.note": 2048,
    "SearchConversationsRequest.query": 512,
    "Source.display_name": 200,
    "Source.mapping": 131072,
    "StartTurnRequest.text": 16384,
    "SubmitFeedbackRequest.comment": 2048,
    "SyncSourceRequest.subject": 255,
    "Teacher.display_name": 200,
    "Teacher.persona": 8192,
}
"""The maximum length of each text in UTF-8, by `Message.field`."""
