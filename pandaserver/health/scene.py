"""What the checks look at: the configuration, the environment, and the database, which is asked once for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pandaserver.config.panda_config import PandaConfig
from pandaserver.health.asking import patient_task_buffer
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.db_proxy_mods.inspection import DatabaseFacts, Durability
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database said, or why it did not; and how long that took."""

    facts: DatabaseFacts | None
    error: PandaError | None
    seconds: float
    asked: float  # seconds since 1970, in the middle of the call that was answered
    durability: list[Durability] | PandaError = field(default_factory=list)  # an error: our account may not ask

    @property
    def refused_schema(self) -> bool:
        """Whether it was reached, and has a schema that this program refuses."""
        return self.error is not None and "schema_version" in self.error.details


@dataclass(slots=True)
class Scene:
    """One examination. Checks share it and may run side by side."""

    config: PandaConfig
    environ: Mapping[str, str]
    patience: float = 5.0  # seconds for the database, and for each connection
    now: float = field(default_factory=time.time)
    _answer: Answer | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def database(self) -> Answer:
        """Ask the database; the first caller does it."""
        with self._asking:
            if self._answer is None:
                self._answer = self._ask()
            return self._answer

    def _ask(self) -> Answer:
        started = time.monotonic()
        try:
            with patient_task_buffer(self.config, self.patience) as tbuf:
                tbuf.look_at_database()  # connecting takes its time, which would look like a wrong clock
                before = time.time()
                facts = tbuf.look_at_database()
                asked = (before + time.time()) / 2
                return Answer(facts, None, time.monotonic() - started, asked, _durability(tbuf))
        except PandaError as error:
            return Answer(None, error, time.monotonic() - started, time.time())


def _durability(tbuf: TaskBuffer) -> list[Durability] | PandaError:
    """Ask in a call of its own, which an account without the right to look can lose without losing the rest."""
    try:
        return tbuf.look_at_durability()
    except PandaError as error:
        return error
