"""Agent cards, which say how to reach an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from a2a.types import a2a_pb2 as a2a

from responsa.chat.v1.agent_pb2 import Agent
from responsa_server import __version__
from responsa_server.domain.addresses import own_address

PATH: Final = "/a2a"
_TAGS: Final = ("questions", "documents", "citations")


def base_of(metadata: Mapping[str, Sequence[str]], public_url: str, *, secure: bool) -> str:
    """The address of this server, as `own_address`, with the scheme that the caller has used; "" if it is not known,
    because a gRPC call has not come through Envoy. secure: whether callers from elsewhere use TLS."""
    (host, *_) = (*metadata.get("host", ()), *metadata.get("x-forwarded-host", ()), "")
    if not host:
        return public_url
    # A proxy that ends TLS need not say so, but its callers name no port.
    tls = secure and host.rpartition("]")[2].partition(":")[2] in ("", "443")
    return own_address(host, public_url, "https" if tls else metadata.get("x-forwarded-proto", ("http",))[0])


def public_card(base: str, resource: str) -> a2a.AgentCard:
    """The card of the default agent for those without a credential: it says nothing about the installation. base: as
    from `base_of`. resource: where tokens of OAuth count; "" for a card without OAuth, as has one whose address is
    another, because its reader came from elsewhere without TLS."""
    skill = a2a.AgentSkill(
        id="default",
        name="Answers with citations",
        description="Answers questions from the documents of this installation, with citations.",
        tags=_TAGS,
    )
    return _card("Responsa", skill, __version__, base, "", resource)


def card_of(agent: Agent, base: str, tenant: str, resource: str) -> a2a.AgentCard:
    """The card of an agent. base: as from `base_of`; if it is "", the card names no address. tenant: how requests name
    the agent. resource: as for `public_card`."""
    skill = a2a.AgentSkill(
        id=agent.name.removeprefix("agents/"),
        name=agent.display_name,
        description=agent.description or agent.display_name,
        tags=_TAGS,
        examples=agent.examples,
    )
    return _card(agent.display_name, skill, agent.version, base, tenant, resource)


def _card(
    name: str, skill: a2a.AgentSkill, version: str, base: str, tenant: str, resource: str
) -> a2a.AgentCard:
    card = a2a.AgentCard(
        name=name,
        description=skill.description,
        version=version,
        supported_interfaces=_interfaces(base, tenant) if base else (),
        capabilities=a2a.AgentCapabilities(
            streaming=True, push_notifications=False, extended_agent_card=True
        ),
        default_input_modes=["text/plain"],
        default_output_modes=["text/markdown", "application/json"],
        skills=[skill],
    )
    scheme = card.security_schemes["bearer"].http_auth_security_scheme
    scheme.scheme, scheme.description = "Bearer", "An API key, or an access token."
    card.security_requirements.add().schemes["bearer"].SetInParent()
    if resource and resource == base + PATH:
        issuer = resource.removesuffix(PATH)
        connected = card.security_schemes["oauth2"].oauth2_security_scheme
        connected.oauth2_metadata_url = f"{issuer}/.well-known/oauth-authorization-server"
        flow = connected.flows.authorization_code
        flow.authorization_url = f"{issuer}/oauth/authorize?resource={quote(resource, safe='')}"
        flow.token_url = flow.refresh_url = f"{issuer}/oauth/token"
        flow.pkce_required = True
        flow.scopes["ask"] = "Ask questions, and follow and cancel the answers."
        card.security_requirements.add().schemes["oauth2"].list.append("ask")
    return card


def _interfaces(base: str, tenant: str) -> Sequence[a2a.AgentInterface]:
    url, address = f"{base}{PATH}/{tenant}".removesuffix("/"), urlsplit(base)
    port = "" if address.port else ":443" if address.scheme == "https" else ":80"
    return [
        a2a.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0"),
        a2a.AgentInterface(
            url=f"{address.netloc}{port}", protocol_binding="GRPC", protocol_version="1.0", tenant=tenant
        ),
    ]
