"""The tokens of a session."""

from __future__ import annotations

import time

from responsa.auth.v1 import session_pb2
from responsa_client import requests
from responsa_client.aio import transport
from responsa_client.aio.accounts import AsyncAccountCalls

EARLY_SECONDS = 60
"""A token is refreshed this many seconds before it expires."""


class AsyncTokenSource:
    """A function that returns the newest access token of a session, for the argument `api_key` of clients. It may be
    shared between clients.

    tokens: the newest tokens. A program that continues its session after a restart stores them, together with
    `request_id`, in a private file.
    request_id: the id of a refresh that has begun; "" for none. A refresh that has failed is repeated with the same id,
    because another one would end the session.

    Args:
        public: a client, which needs no credential.
    """

    def __init__(
        self, public: AsyncAccountCalls, tokens: session_pb2.SessionTokens, request_id: str = ""
    ) -> None:
        self.tokens = tokens
        self.request_id = request_id
        self._public = public
        self._lock = transport.Lock()

    async def __call__(self) -> str:
        """The access token. Raises the errors of `refresh_tokens`; Unauthenticated means that the session has ended."""
        async with self._lock:
            if self.request_id or self.tokens.access_expire_time.seconds - time.time() < EARLY_SECONDS:
                self.request_id = self.request_id or requests.new_request_id()
                self.tokens = await self._public.refresh_tokens(self.tokens.refresh_token, self.request_id)
                self.request_id = ""
            return self.tokens.access_token
