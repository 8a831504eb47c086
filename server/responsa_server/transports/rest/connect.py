"""One call over Connect (connectrpc.com/docs/protocol), the default of the clients that Connect's generators make: messages
in protobuf or its JSON, in a body of their own if request and response have one message each, otherwise in envelopes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from struct import Struct
from typing import ClassVar, Final

from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from responsa_server.calls import status
from responsa_server.calls.chain import Method
from responsa_server.calls.json_types import to_json
from responsa_server.calls.methods import METHODS
from responsa_server.calls.violations import unreadable
from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.rest.handler import GZIP, Exchange
from responsa_server.transports.rest.requests import DOCUMENT_BYTES, check_size, message_of
from responsa_server.transports.rest.routes import Binding
from responsa_server.transports.rest.streams import StreamForm

_HEAD: Final = Struct(">BI")
"""What an envelope begins with: its flags, and the number of the bytes that follow."""
_LONGEST_MS: Final = 99_999_999


def _envelop(data: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(flags, len(data)) + data


def _error(failed: Status) -> bytes:
    return _envelop(b'{"error":' + status.as_connect(failed) + b"}", flags=2)


_WRITERS: Final[Mapping[str, Callable[[Message], bytes]]] = {
    "application/connect+proto": lambda message: _envelop(message.SerializeToString()),
    "application/connect+json": lambda message: _envelop(to_json(message)),
}
_END: Final = _envelop(b"{}", flags=2)
_STREAMS: Final = {kind: StreamForm(kind, write, _error, 200, _END) for kind, write in _WRITERS.items()}


class ConnectExchange(Exchange):
    """One request and its response. The paths are the names of the methods."""

    _transport: ClassVar = "connect"
    describe: ClassVar = staticmethod(status.as_connect)
    _buffer = b""

    @staticmethod
    def bindings(methods: Collection[Method]) -> Iterator[Binding]:
        """The paths of these methods."""
        for method in methods:
            if (descriptor := METHODS.get(method.name)) is not None:
                response = message_factory.GetMessageClass(descriptor.output_type)
                yield Binding(method, response, "POST", method.name, (), "*")

    async def serve(self) -> None:
        """Make the call, and write its response or its error."""
        method = self._binding.method
        streams = method.client_streaming or method.server_streaming
        kinds = _STREAMS if streams else ("application/proto", "application/json")
        self._kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._kind in kinds:
            await super().serve()
        else:
            wanted = ", ".join((*kinds, "application/grpc or application/grpc-web"))
            wrong = unreadable(f"the content-type must be {wanted}")
            await self._respond(415, self.describe(status.of(wrong)), {})

    def _timeout(self) -> str | None:
        if (timeout := self._headers.get("connect-timeout-ms")) is None:
            return None
        if not re.fullmatch("[0-9]{1,10}", timeout):
            raise InvalidRequest.of_field("connect-timeout-ms", "pattern", "must have at most ten digits")
        return f"{min(int(timeout), _LONGEST_MS)}m"

    async def _single(self) -> None:
        await (self._stream() if self._kind in _STREAMS else super()._single())

    def _form(self) -> StreamForm:
        return _STREAMS[self._kind]

    async def _read(self) -> bytes | None:
        if self._kind not in _STREAMS:
            return await super()._read()
        if not (head := await self._take(_HEAD.size)):
            return None
        size = int.from_bytes(head[1:])
        check_size(self._call.method, size, announced=True)
        body = await self._take(size)
        if len(head + body) < _HEAD.size + size:
            raise unreadable("it ends within an envelope")
        if not self._binding.method.client_streaming:
            self._arrived.set()  # what follows the only message does not count, though the body may stay open
        return self._message(body, head[0])

    async def _take(self, size: int) -> bytes:
        """The next bytes of the body: fewer at its end."""
        while len(self._buffer) < size and not self._arrived.is_set():
            piece, more = await self._piece()
            self._buffer += piece
            if not more:
                self._arrived.set()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _message(self, body: bytes, flags: int | None = None) -> bytes:
        coding = self._headers.get(f"{'connect-' * (self._kind in _STREAMS)}content-encoding", "identity")
        packed = coding == "gzip" if flags is None else flags
        if coding not in ("identity", "gzip") or packed not in (0, coding == "gzip"):
            raise unreadable("send messages without compression, or as gzip with the header that says so")
        if packed and body:
            body = self._inflate(body)
        if self._kind.endswith("proto"):
            return body
        return message_of(self._binding, (), self._scope["query_string"], body).SerializeToString()

    def _inflate(self, body: bytes) -> bytes:
        inflating = zlib.decompressobj(GZIP)
        try:
            plain = inflating.decompress(body, DOCUMENT_BYTES + 1)
        except zlib.error as error:
            raise unreadable("it is not gzip, as a header says") from error
        check_size(self._call.method, len(plain), announced=True)
        if not inflating.eof or inflating.unused_data:
            raise unreadable("it ends within gzip, or goes on after it")
        return plain
