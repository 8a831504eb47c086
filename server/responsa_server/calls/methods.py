"""What the contract says about its methods beside their messages: who may make a call, and what the audit log calls it
(the options in `responsa/type/v1/method.proto`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Never

from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from responsa.admin.v1 import admin_service_pb2
from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_server.domain.errors import Precondition, Reason
from responsa_server.system import extras

DESCRIPTORS: Final[Mapping[str, ServiceDescriptor]] = {
    service.full_name: service
    for service in (
        chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"],
        knowledge_service_pb2.DESCRIPTOR.services_by_name["KnowledgeService"],
        auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
        admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
        operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"],
    )
}
"""The services of the contract, by their full names."""
GET_ME: Final = "/responsa.auth.v1.AuthService/GetMe"
CHAT: Final = "/responsa.chat.v1.ChatService/"
"""What the paths of its methods begin with."""
SERVICES: Final = tuple(DESCRIPTORS)
"""The full names of the services of the contract."""
METHODS: Final[Mapping[str, MethodDescriptor]] = {
    f"/{service.full_name}/{method.name}": method
    for service in DESCRIPTORS.values()
    for method in service.methods
}
"""The methods of the contract, by their paths `/package.Service/Method`."""


class NotInstalled:
    """Has the methods of a service, each of which raises EXTRA_NOT_INSTALLED. The part's tables, policies and settings
    are there all the same."""

    def __init__(self, extra: str, service: type) -> None:
        self._extra = extra
        for name in vars(service):
            if name[0].isupper():  # an RPC
                setattr(self, name, self._refuse)

    async def _refuse(self, _: object) -> Never:
        raise Precondition(
            Reason.EXTRA_NOT_INSTALLED,
            (
                f"This server is installed without the extra {self._extra}, which this call needs; its "
                f"operator installs it with {extras.remedy(self._extra)}."
            ),
            {"extra": self._extra},
        )
