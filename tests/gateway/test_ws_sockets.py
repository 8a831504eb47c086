"""Sockets: signing in, continuing after a lost connection, and closing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import httpx2
import pytest
from starlette.websockets import WebSocket

from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.transports.ws.auth import handshake_of
from responsa_server.transports.ws.bridge import MOST_OF_ADDRESS
from tests.gateway.conftest import OTHER_ORIGIN, Place, start_place
from tests.gateway.scripted_turns import log_of, name_of
from tests.gateway.sockets import KEY, LIBRARIES, Client, Closed, Json, reason_of
from tests.gateway.wire import OWN, of_rest

COOKIE = {"cookie": "other=1; responsa_session_8080=rss_good; responsa_session=rss_more", **OWN}


def whose(client: Client) -> Json:
    """The last frame of a turn over this socket. It shows that the server accepted the socket."""
    return client.say(content="script limit").turn()[-1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_ways_to_sign_in(place: Place, library: str) -> None:
    handshakes: list[dict[str, Any]] = [
        {},
        {"protocols": ["bearer", KEY]},
        {"protocols": [f"bearer.{KEY}", "chat", "responsa.v1"]},
        {"key": None, "query": f"?token={KEY}"},
        {"key": None, "headers": {"authorization": f"Bearer {KEY}"}},
        {"key": None, "headers": COOKIE},
    ]
    answered = ["responsa.v1", "bearer", "responsa.v1", None, None, None]
    for handshake, subprotocol in zip(handshakes, answered, strict=True):
        with Client(place.target, library, **handshake) as client:
            assert client.socket.subprotocol == subprotocol
            assert whose(client)["type"] == "message"
    with Client(place.target, library, key=None) as client:
        assert client.say(type="ping").say(type="auth", token=KEY).hear() == {"type": "pong"}
        assert whose(client)["type"] == "message"
    # A session of another instance on this host does not count.
    foreign = {"cookie": "responsa_session_9999=rss_bad", **OWN}
    with Client(place.target, library, key=None, headers=foreign) as client:
        assert whose(client.say(type="auth", token=KEY))["type"] == "message"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_bad_token_gets_one_frame_and_the_end(place: Place, library: str) -> None:
    sockets = [
        Client(place.target, library, key="rsp_bad"),
        Client(place.target, library, key=None, query="?token=rsp_bad"),
        Client(place.target, library, key=None).say(type="auth", token="rsp_bad"),
        # This also works over a socket that is already signed in.
        Client(place.target, library).say(type="auth", token="rsp_bad"),
    ]
    for client in sockets:
        with client:
            frame = client.hear()
            assert (frame["type"], frame["code"]) == ("error", "UNAUTHENTICATED")
            assert (frame["status"]["code"], reason_of(frame)) == (16, "CREDENTIAL_UNKNOWN")
            assert client.closed() == 1008


def test_a_question_before_a_token_gets_one_frame_and_the_end(place: Place) -> None:
    with Client(place.target, key=None) as client:
        frame = client.say(content="script limit").hear()
        assert (frame["code"], reason_of(frame)) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
        assert "bearer.rsp_" in frame["message"]
        assert client.closed() == 1008


def test_who_sends_no_token_is_not_waited_for(hasty: Place) -> None:
    with Client(hasty.target, key=None) as client:
        while (frame := client.hear()) == {"type": "heartbeat"}:
            pass
        assert (frame["code"], reason_of(frame)) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
        assert client.closed() == 1008


def test_a_socket_takes_another_token_of_its_user_alone(place: Place) -> None:
    for asked in (False, True):
        with Client(place.target, key=f"{KEY}7") as client:
            if asked:
                whose(client)
            assert whose(client.say(type="auth", token=f"{KEY}7~3600"))["type"] == "message"
            # A question behind a refused token is nobody's.
            client.say(type="auth", token=f"{KEY}8").say(content="whose")
            frame = client.hear()
            assert (frame["code"], reason_of(frame)) == ("UNAUTHENTICATED", "CREDENTIAL_OF_OTHER_USER")
            assert client.closed() == 1008


def test_a_token_in_the_address_is_nowhere_afterwards(hasty: Place) -> None:
    secret = "rsp_good_secret_of_this_test"
    with Client(hasty.target, key=None, query=f"?token={secret}") as client:
        whose(client)
    with Client(hasty.target, key=None, query="?token=rsp_bad_secret") as client:
        client.hear()
    text = (hasty.folder / "envoy.log").read_text() + (hasty.folder / "server.log").read_text()
    assert "secret" not in text


def test_a_cut_socket_goes_on_from_every_seq(place: Place) -> None:
    whole = log_of("answer")
    for cut in range(2, len(whole)):
        with Client(place.target) as client:
            client.say(content=f"script answer hang={cut}", deltas=True, request_id=f"r{cut}")
            before: list[Json] = []
            while not before or before[-1]["seq"] < min(cut, 6):
                before.append(client.hear())
        with Client(place.target) as client:
            turn, after_seq = before[0]["turn"], before[-1]["seq"]
            client.say(type="resume", turn=turn.removeprefix("turns/"), after_seq=after_seq, deltas=True)
            # The turn hangs until it is cancelled by another socket.
            with Client(place.target) as canceller:
                canceller.say(type="cancel", turn=turn)
                end = canceller.hear()
            after = client.turn()
        assert end == after[-1]
        assert all(frame["seq"] > after_seq for frame in after)
        assert [*before, *after][-1]["metadata"]["outcome"] == "cancelled"


@pytest.mark.parametrize("cut", [0, 1])
def test_a_question_that_was_cut_off_before_any_frame_attaches_when_asked_again(
    place: Place, cut: int
) -> None:
    question = {"content": f"script answer hang={cut} ", "request_id": f"again{cut}"}
    turn = name_of(f"{question['content']}{question['request_id']}")
    with Client(place.target) as client:
        client.say(**question)
        # Cancel the turn as soon as it exists. The server has not sent an event of the turn yet.
        with Client(place.target) as canceller:
            while (end := canceller.say(type="cancel", turn=turn).hear())["type"] == "error":
                assert reason_of(end) == "RESOURCE_NOT_FOUND"
    with Client(place.target) as client:
        again = client.say(**question).turn()
    assert again == [end]
    assert (end["turn"], end["seq"], end["metadata"]["outcome"]) == (turn, cut + 1, "cancelled")


@pytest.mark.parametrize("after_seq", range(8))
def test_what_comes_after_a_seq_is_the_same_as_without_a_cut(place: Place, after_seq: int) -> None:
    with Client(place.target) as client:
        whole = client.say(content=f"script answer {after_seq}").turn()
        for turn in (whole[0]["turn"], whole[0]["turn"].removeprefix("turns/")):
            rest = client.say(type="resume", turn=turn, after_seq=after_seq).turn()
            assert rest == [frame for frame in whole if frame["seq"] > after_seq]
        # After the last seq there are no more events, and the socket waits for the next message.
        client.say(type="resume", turn=whole[0]["turn"], after_seq=whole[-1]["seq"])
        other = client.say(content="script limit").turn()
        assert {frame["turn"] for frame in other} & {whole[0]["turn"]} == set()


@pytest.mark.parametrize("words", ["cut=2", "cut=5", "drop", "drop cut=1", "cut=7"])
def test_the_bridge_itself_goes_on_after_a_cut(place: Place, words: str) -> None:
    with Client(place.target) as client:
        frames = client.say(content=f"script answer {words}", deltas=True).turn()
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))
    text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    assert text == "A **lease** <script>alert(1)</script> ends."
    assert frames[-1]["type"] == "message"


@pytest.mark.parametrize("words", ["reconnect=3", "gone=3"])
def test_where_it_cannot_go_on_the_client_is_sent_elsewhere(place: Place, words: str) -> None:
    with Client(place.target) as client:
        client.say(content=f"script answer {words}")
        assert [client.hear()["seq"], client.hear()["seq"]] == [2, 3]
        assert client.closed() == 1012


def test_what_ends_the_following_of_a_turn_names_it(place: Place) -> None:
    with Client(place.target) as client:
        frames = client.say(content="script answer lost=3", deltas=True, request_id="lost").turn()
        assert [frame.get("seq") for frame in frames] == [2, 3, None]
        assert (frames[-1]["code"], frames[-1]["turn"]) == ("NOT_FOUND", frames[0]["turn"])
        assert frames[-1]["request_id"] == "lost"


def test_a_server_that_does_not_answer_is_not_waited_for(hasty: Place) -> None:
    with Client(hasty.target, key="rsp_stuck") as client:
        while (frame := client.hear()) == {"type": "heartbeat"}:
            pass
        assert (frame["code"], reason_of(frame)) == ("INTERNAL", "PART_UNAVAILABLE")
        assert client.closed() == 1013
    with Client(hasty.target) as client:
        turn = client.say(content="script limit stuck").turn()[-1]["turn"]
        client.say(type="cancel", turn=turn)
        while (frame := client.hear()) == {"type": "heartbeat"}:
            pass
        assert (reason_of(frame), frame["turn"]) == ("PART_UNAVAILABLE", turn)


def test_all_that_a_socket_asks_goes_under_the_id_of_its_call(place: Place) -> None:
    ids: list[str] = []
    for _ in range(2):
        with Client(place.target) as client:
            turns = [client.say(content="script call", deltas=True).turn() for _ in range(2)]
        assert turns[0][0]["text"] == turns[1][0]["text"]
        ids.append(turns[0][0]["text"])
    assert all(UUID(one) for one in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("sent", "kept"), [("from-envoy.1", True), ("", False), ("a b", False), ("x" * 65, False)]
)
def test_the_id_of_the_call_is_the_handshakes(sent: str, kept: bool) -> None:
    async def unused(*_: object) -> Any:
        raise AssertionError

    headers = [(b"x-request-id", sent.encode())]
    found = handshake_of(
        WebSocket({"type": "websocket", "query_string": b"", "headers": headers}, unused, unused),
        SessionCookie(),
    ).call_id
    assert (found == sent) is kept
    assert kept or UUID(found)


def test_a_log_that_was_pruned_brings_the_end(place: Place) -> None:
    with Client(place.target) as client:
        whole = client.say(content="script answer pruned").turn()
        assert client.say(type="resume", turn=whole[0]["turn"], after_seq=2).turn() == whole[-1:]


def is_silent(client: Client) -> bool:
    """Whether no frame of a turn waits. The first pong may overtake such a frame, but the second ping is sent after the frame."""
    return all(client.say(type="ping").hear() == {"type": "pong"} for _ in range(2))


def test_a_turn_is_cancelled_once_for_all_who_follow(place: Place) -> None:
    with Client(place.target) as client, Client(place.target) as other:
        turn = client.say(content="script answer hang=2").hear()["turn"]
        other.say(type="resume", turn=turn)
        assert other.hear()["seq"] == 2
        client.say(type="cancel", turn=turn)
        ends = [client.turn()[-1], other.turn()[-1]]
        assert ends[0] == ends[1]
        assert ends[0]["metadata"]["outcome"] == "cancelled"
        # The next frame is a different one. This shows that the end arrived only once.
        assert client.say(type="ping").hear() == {"type": "pong"}
        # Cancelling again sends no frame that the socket already has.
        for one in (client, other):
            one.say(type="cancel", turn=turn).say(type="cancel", turn=turn.removeprefix("turns/"))
            assert is_silent(one)
    with Client(place.target) as third:
        # Another socket learns once how the turn ended, and again when it asks for the frames.
        assert third.say(type="cancel", turn=turn).hear() == ends[0]
        assert is_silent(third.say(type="cancel", turn=turn))
        assert third.say(type="resume", turn=turn, after_seq=2).turn() == [ends[0]]


def test_cancelling_an_answered_turn_does_not_send_its_answer_again(place: Place) -> None:
    with Client(place.target) as client:
        end = client.say(content="script answer answered once").turn()[-1]
        assert end["type"] == "message"
        assert is_silent(client.say(type="cancel", turn=end["turn"]))


def test_a_slow_reader_gets_all_and_others_do_not_wait(place: Place) -> None:
    """The turn has 3 MB in 2,000 deltas, which is more than the sockets and the outbox can hold."""
    with Client(place.target) as slow:
        slow.say(content="script long", deltas=True)
        with Client(place.target) as quick:
            assert whose(quick)["type"] == "message"
        frames = slow.turn()
    text = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    assert text == "".join(f"{number:05} " * 150 for number in range(2000))
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))


def test_pages_of_other_origins_get_no_socket(place: Place) -> None:
    for library in LIBRARIES:
        with pytest.raises(Exception, match="403"):
            Client(place.target, library, headers={"origin": OTHER_ORIGIN})
        with Client(place.target, library, headers={"origin": place.url}) as client:
            whose(client)


def test_elsewhere_nothing_is_upgraded(place: Place) -> None:
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with httpx2.Client(base_url=place.url) as http:
        for path in ("/", "/v1/turns", "/ws", "/ws/chat/x"):
            for page in ({}, {"origin": OTHER_ORIGIN}):
                answer = http.get(path, headers={**upgrade, **page})
                assert (answer.status_code, of_rest(answer).reason) == (404, "ROUTE_NOT_FOUND")
        assert http.get("/ws/chat").status_code == 404
        old = http.get("/ws/chat", headers={**upgrade, "sec-websocket-version": "8"})
        assert (old.status_code, old.headers["sec-websocket-version"]) == (426, "13")


@pytest.fixture
def leaving() -> Iterator[Place]:
    place = start_place()
    yield place
    place.stop()


def test_a_server_that_goes_away_sends_all_elsewhere(leaving: Place) -> None:
    with Client(leaving.target) as idle, Client(leaving.target) as busy:
        whose(idle)
        turn = busy.say(content="script answer hang=2").hear()["turn"]
        os.kill(leaving.server.pid, signal.SIGUSR1)
        assert idle.closed() == 1012
        assert busy.closed() == 1012
        with Client(leaving.target) as late:
            assert late.socket.subprotocol == "responsa.v1"
            assert late.closed() == 1012
    # The turn was not cancelled.
    with httpx2.Client(base_url=leaving.url) as http:
        assert http.get(f"/v1/{turn}").json()["terminalEvent"]["answer"]


def test_a_server_that_ends_closes_what_is_left(leaving: Place) -> None:
    with Client(leaving.target) as client:
        whose(client)
        os.kill(leaving.server.pid, signal.SIGTERM)
        with pytest.raises(Closed) as closed:
            client.hear()
    assert closed.value.code in (1006, 1012)


def test_sockets_that_wait_for_their_sign_in_are_limited(place: Place) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(Client(place.target, key=None)) for _ in range(MOST_OF_ADDRESS)]
        # Each has been accepted and counted.
        for client in waiting:
            assert client.say(type="ping").hear() == {"type": "pong"}
        with Client(place.target, key=None) as refused, pytest.raises(Closed) as caught:
            refused.hear()
        assert caught.value.code == 1013
        # A socket with a credential does not wait, and one that signs in makes room.
        with Client(place.target) as signed:
            assert whose(signed)["type"] == "message"
        waiting[0].say(type="auth", token=KEY)
        assert whose(waiting[0])["type"] == "message"
        with Client(place.target, key=None) as next_one:
            assert next_one.say(type="ping").hear() == {"type": "pong"}
