"""grpc.channelz.v1: the connections of this process and its numbers of calls, for finding faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

from responsa_server.calls.chain import Method
from responsa_server.domain.errors import NotFound


def channelz_methods() -> Iterator[Method]:
    """The methods of channelz. gRPC counts for them only in a server with the option `grpc.enable_channelz`."""
    service: Any = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]  # its stubs name another class
    for method in service.methods:
        yield Method(
            f"/{service.full_name}/{method.name}",
            message_factory.GetMessageClass(method.input_type),
            partial(_call, getattr(ChannelzServicer, method.name)),
        )


async def _call(method: Callable[[Message, object], Message], request: Message) -> Message:
    return method(request, _Errors())


class _Errors:
    """Stands for gRPC's context, in which the library reports that nothing has the id of a request."""

    def set_code(self, code: object) -> None:
        """Do nothing: the details follow."""

    def set_details(self, details: str) -> None:
        """Raises NotFound."""
        raise NotFound.of("channelz", details)
