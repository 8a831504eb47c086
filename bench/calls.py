"""The calls that are measured: their methods, their requests, and the check of their responses."""

from __future__ import annotations

from typing import Final

from bench.jobs import Call, Job
from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa.type.v1 import scope_pb2

METHODS: Final = {
    Call.ASK: "/responsa.chat.v1.ChatService/Ask",
    Call.ANSWER: "/responsa.chat.v1.ChatService/Answer",
    Call.GET_ME: "/responsa.auth.v1.AuthService/GetMe",
    Call.SEARCH: "/responsa.knowledge.v1.KnowledgeService/Search",
}
_TOP_K: Final = 10


def request_of(job: Job, place: int) -> bytes:
    """The request of the call with the number `place` in the job. The request has no request_id, so that every call does its own work."""
    text = job.texts[place % len(job.texts)] if job.texts else ""
    collections = [f"collections/{job.collection}"] if job.collection else []
    scope = scope_pb2.Scope(collections=collections)
    options = chat_service_pb2.AskOptions(scope=scope)
    match job.call:
        case Call.ASK:
            return chat_service_pb2.AskRequest(
                text=text, options=options, include_deltas=True
            ).SerializeToString()
        case Call.ANSWER:
            return chat_service_pb2.AnswerRequest(text=text, options=options).SerializeToString()
        case Call.GET_ME:
            return auth_service_pb2.GetMeRequest().SerializeToString()
        case Call.SEARCH:
            mode = knowledge_service_pb2.SearchMode.Value(job.mode)
            return knowledge_service_pb2.SearchRequest(
                terms=[text], scope=scope, top_k=_TOP_K, mode=mode
            ).SerializeToString()


def answered(call: Call, last: bytes, *, refusals: bool = False) -> bool:
    """Whether the last message of a call is a good response. For a turn, only an answer is good; refusals: for ASK, a refusal as well."""
    match call:
        case Call.ASK:
            events = chat_service_pb2.AskResponse.FromString(last).events
            good = ("answer", "refused") if refusals else ("answer",)
            return bool(events) and events[-1].WhichOneof("event") in good
        case Call.ANSWER:
            return turn_pb2.Turn.FromString(last).terminal_event.WhichOneof("event") == "answer"
        case Call.GET_ME | Call.SEARCH:
            return True
