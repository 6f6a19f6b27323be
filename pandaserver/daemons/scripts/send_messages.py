"""Send outgoing messages, such as changes of jobs, to the message brokers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.sections import run_sections
from pandaserver.dataservice.broker_config import Brokers, read_brokers
from pandaserver.dataservice.MessageSender import drain
from pandaserver.dataservice.StompBroker import StompBroker
from pandaserver.taskbuffer.messages import MAIL_TOPIC
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("send_messages")

#: Seconds that a run sends to one broker; what is left waits for the next run.
STRETCH: Final = 50.0


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Send what waits, to each broker in turn; one that is away does not stop the others."""
    tbuf = required(tbuf)
    log = LogWrapper(_log, None)
    path = configuration().server.mbproxy_configFile
    if path is None:
        log.info("no broker is configured (mq_configFile), so jobs are not announced and nothing is sent")
        return
    brokers = read_brokers(path)
    run_sections(log, {server: _section(tbuf, brokers, server) for server in brokers.servers})
    without = tbuf.otherMessages([MAIL_TOPIC, *brokers.destinations])
    for topic, number in without.items():
        log.warning(f"kept n={number} topic={topic}: {path} has no enabled queue of that name")


def _section(tbuf: TaskBuffer, brokers: Brokers, server: str) -> Callable[[], int]:
    def send() -> int:
        destinations = {topic: brokers.destinations[topic][1] for topic in brokers.topics_of(server)}
        with StompBroker(brokers.servers[server]) as broker:
            return drain(tbuf, broker, destinations, STRETCH) if destinations else 0

    return send
