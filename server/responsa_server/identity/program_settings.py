"""The settings of programs that people connect to their accounts (`programs`)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from responsa_server.identity.openid_settings import PrivateHosts


class ProgramSettings(BaseModel, extra="forbid"):
    """Programs that people connect to their accounts (OAuth)."""

    documents: bool = Field(
        default=True,
        description=(
            "Whether a program may say what it is in a document at an https address, its `client_id` "
            "(Client ID Metadata Document). The server fetches it when a person who has signed in is "
            "asked to connect the program. A server that reaches no public host does not announce this."
        ),
    )
    dynamic_registration: Literal["known", "any", "none"] = Field(
        default="known",
        description=(
            "Which programs may register themselves (RFC 7591), under any name: those that send people back "
            "to the loopback or to an address that Responsa knows, such as Cursor's, or an owner has allowed on "
            "the page (`known`), `any`, or `none`. Connected programs stay when this changes."
        ),
    )
    allow_private: PrivateHosts = Field(
        default=(),
        description=(
            "Private hosts, addresses and networks, such as `10.1.0.0/16`, from which documents of "
            "programs may also be fetched."
        ),
    )
