"""The file that names message brokers and what goes where: setting ``mq_configFile``, or ``mbproxy_configFile``.

::

    {"mb_servers": {"MQ": {"host_port_list": ["mb.example.org:61613"], "username": "panda", "passcode": "..."}},
     "queues": {"panda_jobstatus": {"server": "MQ", "destination": "/topic/panda.jobstatus"}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.connection_settings import NO_PASSWORD, Secret

_DEFAULT_PORT: Final = 61613


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """How to reach one broker: any of its addresses will do."""

    name: str
    addresses: tuple[tuple[str, int], ...]
    use_ssl: bool = False
    cert_file: str | None = None
    key_file: str | None = None
    ca_certs: str | None = None
    username: str | None = None
    passcode: Secret = NO_PASSWORD
    vhost: str | None = None


@dataclass(frozen=True, slots=True)
class Brokers:
    """The servers by name, and for each topic of messages its (server, destination)."""

    servers: Mapping[str, BrokerServer]
    destinations: Mapping[str, tuple[str, str]]

    def topics_of(self, server: str) -> list[str]:
        """Return the topics that go to a server."""
        return sorted(topic for topic, (name, _) in self.destinations.items() if name == server)


def read_brokers(path: Path) -> Brokers:
    """Read the file; raise BadRequest that names the entry which is wrong."""
    try:
        content = json.loads(path.read_text("utf-8"))
        servers = {name: _server(name, entry) for name, entry in content["mb_servers"].items()}
        queues = content["queues"]
        destinations = {
            topic: (str(queue["server"]), str(queue["destination"]))
            for topic, queue in queues.items()
            if queue.get("enable", True)
        }
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path}: {error}") from error
    except KeyError as error:
        raise BadRequest(f"{path}: {error} is missing") from error
    for topic, (server, _) in destinations.items():
        if server not in servers:
            raise BadRequest(f"{path}: queue {topic} goes to server {server}, which mb_servers does not describe")
    return Brokers(servers, destinations)


def _server(name: str, entry: Mapping[str, Any]) -> BrokerServer:
    return BrokerServer(
        name,
        tuple(_address(name, text) for text in entry["host_port_list"]),
        use_ssl=entry.get("use_ssl", False) is True,
        cert_file=entry.get("cert_file"),
        key_file=entry.get("key_file"),
        ca_certs=entry.get("ca_certs"),
        username=entry.get("username"),
        passcode=Secret(entry.get("passcode") or ""),
        vhost=entry.get("vhost"),
    )


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = str(text).rpartition(":")
    if not host:
        return str(text), _DEFAULT_PORT
    if not port.isdecimal():
        raise ValueError(f"server {name}: {text!r} is not host:port")
    return host, int(port)
