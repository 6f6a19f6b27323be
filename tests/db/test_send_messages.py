"""Outgoing messages and a real broker: what it took is forgotten, everything else stays."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pandaserver.daemons.scripts import send_messages
from pandaserver.dataservice import MessageSender
from pandaserver.dataservice.broker_config import BrokerServer, read_brokers
from pandaserver.dataservice.StompBroker import StompBroker
from pandaserver.srvcore.errors import BadRequest, ExternalError
from pandaserver.taskbuffer.messages import PATIENCE, OutgoingMessage
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.broker import BrokerProcess, wait_until
from tests.db.completion import insert, read

DESTINATION = "/queue/panda.jobstatus"


@pytest.fixture(scope="module")
def running() -> Iterator[BrokerProcess]:
    broker = BrokerProcess()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def broker(running: BrokerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BrokerProcess:
    configure(running.port, tmp_path, monkeypatch)
    return running


def configure(port: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / "mq.json"
    server = {"host_port_list": [f"127.0.0.1:{port}"], "use_ssl": False, "username": "u", "vhost": "localhost"}
    queues = {
        "panda_jobstatus": {"enable": True, "server": "MQ", "destination": DESTINATION},
        "panda_jedi": {"enable": False, "server": "MQ", "destination": "/queue/x"},
    }
    path.write_text(json.dumps({"mb_servers": {"MQ": server}, "queues": queues}))
    settings = SimpleNamespace(server=SimpleNamespace(mbproxy_configFile=path))
    monkeypatch.setattr(send_messages, "configuration", lambda: settings)


def put(tbuf: TaskBuffer, number: int, topic: str = "panda_jobstatus", attempts: int = 0) -> None:
    payload = json.dumps({"msg_type": "job_status", "jobid": number})
    insert(tbuf, "panda_messages", minutes_ago={"creationTime": 1}, topic=topic, payload=payload, attempts=attempts)


def waiting(tbuf: TaskBuffer) -> list[tuple[int, int]]:
    rows = read(tbuf, "SELECT payload, attempts FROM ATLAS_PANDA.panda_messages ORDER BY id")
    return [(json.loads(payload)["jobid"], attempts) for payload, attempts in rows]


def numbers(frames: Sequence[Any]) -> list[int]:
    return [json.loads(frame.body)["jobid"] for frame in frames]


def test_messages_arrive_in_order_and_are_forgotten(
    tbuf: TaskBuffer, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MessageSender, "BATCH", 7)
    for number in range(30):
        put(tbuf, number)
    with broker.messages(DESTINATION) as frames:
        send_messages.main(tbuf=tbuf)
        wait_until(lambda: len(frames) == 30)
    assert numbers(frames) == list(range(30))
    assert frames[0].headers["persistent"] == "true"
    assert waiting(tbuf) == []


def test_messages_without_an_enabled_queue_are_kept_and_told(
    tbuf: TaskBuffer, broker: BrokerProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_messages._log, "propagate", True)
    put(tbuf, 1, "panda_jedi")
    with caplog.at_level(logging.WARNING):
        send_messages.main(tbuf=tbuf)
    assert waiting(tbuf) == [(1, 0)]
    assert "kept n=1 topic=panda_jedi" in caplog.text


def test_a_broker_that_is_away_costs_no_message(
    tbuf: TaskBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = BrokerProcess()
    broker.start()
    broker.stop()
    configure(broker.port, tmp_path, monkeypatch)
    put(tbuf, 1)
    send_messages.main(tbuf=tbuf)
    assert waiting(tbuf) == [(1, 0)]
    broker.start()
    try:
        with broker.messages(DESTINATION) as frames:
            send_messages.main(tbuf=tbuf)
            wait_until(lambda: numbers(frames) == [1])
    finally:
        broker.stop()
    assert waiting(tbuf) == []


def test_a_broker_killed_between_two_batches_loses_nothing(
    tbuf: TaskBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = BrokerProcess()
    broker.start()
    monkeypatch.setattr(MessageSender, "BATCH", 2)
    for number in range(6):
        put(tbuf, number)
    server = BrokerServer("MQ", (("127.0.0.1", broker.port),), vhost="localhost")
    with StompBroker(server, timeout=5) as connection:
        sent: list[int] = []
        take = connection.send

        def send(messages: Sequence[OutgoingMessage], destinations: Mapping[str, str]) -> set[int]:
            if len(sent) == 2:
                broker.stop()
            taken = take(messages, destinations)
            sent.extend(taken)
            return taken

        monkeypatch.setattr(connection, "send", send)
        with pytest.raises(ExternalError):
            MessageSender.drain(tbuf, connection, {"panda_jobstatus": DESTINATION}, 20)
    assert [number for number, _ in waiting(tbuf)] == [2, 3, 4, 5]


@pytest.mark.parametrize("greeting", [b"", b"CONNECTED\nversion:1.2\n\n\x00", b"ERROR\nmessage:go away\n\n\x00"])
def test_a_silent_broker_costs_the_timeout_and_no_message(tbuf: TaskBuffer, greeting: bytes) -> None:
    put(tbuf, 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                peer.sendall(greeting)
                peers.append(peer)

        peers: list[socket.socket] = []
        threading.Thread(target=greet, daemon=True).start()
        server = BrokerServer("MQ", (("127.0.0.1", listener.getsockname()[1]),))
        begin = time.monotonic()
        with StompBroker(server, timeout=0.3) as broker, suppress(ExternalError):
            assert MessageSender.drain(tbuf, broker, {"panda_jobstatus": DESTINATION}, 1) == 0
        assert time.monotonic() - begin < 5
        listener.shutdown(socket.SHUT_RDWR)
    for peer in peers:
        peer.close()
    assert [number for number, _ in waiting(tbuf)] == [1]


class Picky:
    """A broker that does not like some messages."""

    problem = "I do not like it"

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.taken: list[int] = []

    def send(self, messages: Sequence[OutgoingMessage], destinations: Mapping[str, str]) -> set[int]:
        taken = set()
        for message in messages:
            number = json.loads(message.payload)["jobid"]
            if number in self.refused:
                break
            self.taken.append(number)
            taken.add(message.id)
        return taken


def drain(tbuf: TaskBuffer, broker: Picky) -> int:
    return MessageSender.drain(tbuf, broker, {"panda_jobstatus": DESTINATION}, 20)


def test_a_message_that_is_refused_is_counted_and_does_not_stop_the_others(tbuf: TaskBuffer) -> None:
    for number in range(5):
        put(tbuf, number)
    broker = Picky(1)
    assert drain(tbuf, broker) == 4
    assert broker.taken == [0, 2, 3, 4]
    assert waiting(tbuf) == [(1, 1)]


def test_a_message_refused_often_waits_behind_the_others(tbuf: TaskBuffer) -> None:
    put(tbuf, 1, attempts=PATIENCE)
    put(tbuf, 2)
    broker = Picky()
    drain(tbuf, broker)
    assert broker.taken == [2, 1]


def test_a_broker_that_refuses_everything_is_left_alone_soon(tbuf: TaskBuffer) -> None:
    for number in range(9):
        put(tbuf, number)
    assert drain(tbuf, Picky(*range(9))) == 0
    assert sorted(attempts for _, attempts in waiting(tbuf)) == [0] * 6 + [1] * MessageSender.MOST_REFUSALS


def test_without_a_broker_the_script_says_so(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SimpleNamespace(server=SimpleNamespace(mbproxy_configFile=None))
    monkeypatch.setattr(send_messages, "configuration", lambda: settings)
    monkeypatch.setattr(send_messages._log, "propagate", True)
    with caplog.at_level(logging.INFO):
        send_messages.main(tbuf=tbuf)
    assert "no broker is configured" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ('{"mb_servers": {}}', "'queues' is missing"),
        ('{"mb_servers": {}, "queues": {"q": {"server": "X", "destination": "d"}}}', "goes to server X"),
        ('{"mb_servers": {"X": {}}, "queues": {}}', "'host_port_list' is missing"),
        ('{"mb_servers": {"X": {"host_port_list": ["h:p"]}}, "queues": {}}', "'h:p' is not host:port"),
        ("[]", "list indices"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mq.json"
    path.write_text(text)
    with pytest.raises(BadRequest, match=problem):
        read_brokers(path)


def test_a_passcode_does_not_show(tmp_path: Path) -> None:
    path = tmp_path / "mq.json"
    path.write_text('{"mb_servers": {"X": {"host_port_list": ["h"], "passcode": "sesame"}}, "queues": {}}')
    assert "sesame" not in repr(read_brokers(path))
