"""One connection: a call is one transaction around one operation. The name is historical; every backend is served."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.srvcore.errors import (
    Busy,
    DatabaseError,
    LockLost,
    OutcomeUnknown,
    PandaError,
    RequestError,
    Unavailable,
)
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.base import Session
from pandaserver.taskbuffer.operation import Operation, find_operation
from pandaserver.taskbuffer.schema.version import REQUIRED
from pandaserver.taskbuffer.transaction import Transaction, statement_seconds
from pandaserver.taskbuffer.WrappedCursor import WrappedCursor

_logger = PandaLogger().getLogger("DBProxy")

#: Longest wait for a connection.
CONNECT_SECONDS: Final = 10.0
#: First pause after a lost lock race; doubled each time, jittered.
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0

INSTALLED_VERSION: Final = """
    SELECT major, minor, patch FROM ATLAS_PANDA.pandadb_version WHERE component = 'PanDA'
"""


class OraDBProxy:
    """Owns one connection and runs operations on it, one at a time. Connects at the first call."""

    def __init__(self, connection: ConnectionSettings, operations: OperationSettings) -> None:
        self._settings = connection
        self._operations = operations
        self._dialect = dialect_for(connection)
        self._session: Session | None = None
        self.transactions = 0  # that were begun for operations
        self._memory: dict[str, Any] = {}  # what operations remember, see db_proxy_mods/remembered.py

    def call(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, timeout: float = 60.0
    ) -> Any:
        """Run the operation ``name`` as one transaction, within ``timeout`` seconds.

        It runs again when a lock race was lost or the connection died before the commit: nothing was kept then.
        """
        operation = find_operation(name)
        started = monotonic()
        deadline = started + timeout
        report = _Report(name)
        try:
            result = self._run_until(deadline, operation, args, kwargs or {}, report)
        except BaseException as error:
            report.log(started, error)
            raise
        report.log(started, None)
        return result

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _run_until(
        self,
        deadline: float,
        operation: Operation[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        report: _Report,
    ) -> Any:
        pause = FIRST_PAUSE
        may_reconnect = True
        while True:
            try:
                return self._run_once(deadline, operation, args, kwargs, report)
            except LockLost as lost:
                wait = random.uniform(0.5, 1.0) * pause
                if wait >= statement_seconds(deadline):
                    raise Busy(f"{operation.name} kept losing locks: {lost}") from lost
                sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)
            except Unavailable:
                if self._session is not None or not may_reconnect or not report.connected_before:
                    raise
                may_reconnect = False

    def _run_once(
        self,
        deadline: float,
        operation: Operation[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        report: _Report,
    ) -> Any:
        report.connected_before = self._session is not None
        session = self._session = self._session or self._connect(deadline)
        self.transactions += 1
        cursor = WrappedCursor(session, self._dialect, dump_sql=self._settings.dump_sql)
        tx = Transaction(cursor, self._operations, deadline, self._memory)
        try:
            _begin(session, read_only=operation.repeatable, seconds=statement_seconds(deadline))
            result = operation(tx, *args, **kwargs)
            if tx.failure is not None:
                raise tx.failure
            self._commit(session, operation)
        except BaseException as error:
            self._end(session, error)
            raise
        finally:
            report.add(cursor)
        return result

    def _commit(self, session: Session, operation: Operation[..., Any]) -> None:
        try:
            session.commit()
        except Exception as raised:
            meaning = session.error(raised)
            if meaning is None or isinstance(meaning, LockLost) or operation.repeatable:
                raise (meaning or raised) from raised
            raise OutcomeUnknown(f"{operation.name} failed while it was committed: {raised}") from raised

    def _end(self, session: Session, error: BaseException) -> None:
        """Undo the transaction; give the connection up when that is not certain to have worked."""
        try:
            session.rollback()
        except Exception as raised:
            self.close()
            if session.error(raised) is None:
                raise
            _logger.warning(f"connection given up after {type(error).__name__}: rollback failed: {raised}")
        else:
            if session.lost:
                self.close()

    def _connect(self, deadline: float) -> Session:
        seconds = min(CONNECT_SECONDS, statement_seconds(deadline))
        session = self._dialect.connect(seconds)
        try:
            self._check_version(session, deadline)
        except BaseException:
            session.close()
            raise
        return session

    def _check_version(self, session: Session, deadline: float) -> None:
        """Refuse a schema that is older than this program."""
        required = ".".join(map(str, REQUIRED))
        tx = Transaction(WrappedCursor(session, self._dialect), self._operations, deadline)
        try:
            _begin(session, read_only=True, seconds=statement_seconds(deadline))
            found = tx.one(INSTALLED_VERSION)
            _rollback(session)
        except DatabaseError as error:  # whoever called us closes the session
            raise Unavailable(f"schema version not readable, {required} is required: {error}") from error
        if found is None or tuple(found) < REQUIRED:
            installed = ".".join(map(str, found)) if found else "unknown"
            message = f"schema is version {installed}, {required} is required: run panda-admin schema upgrade"
            raise Unavailable(message, schema_version=installed)


class _Report:
    """What one call did, for its line in the log."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempts = 0
        self.statements = 0
        self.rows = 0
        self.connected_before = False

    def add(self, cursor: WrappedCursor) -> None:
        self.attempts += 1
        self.statements += cursor.statements
        self.rows += cursor.rows

    def log(self, started: float, error: BaseException | None) -> None:
        milliseconds = (monotonic() - started) * 1000
        line = f"operation={self.name} ms={milliseconds:.1f} statements={self.statements} rows={self.rows}"
        if self.attempts > 1:
            line += f" attempts={self.attempts}"
        if error is None:
            _logger.debug(line)
        elif isinstance(error, RequestError):
            _logger.info(f"{line} refused={type(error).__name__} {error}")
        elif isinstance(error, PandaError):
            _logger.warning(f"{line} error={type(error).__name__} {error} {error.details or ''}".rstrip())
        else:
            _logger.error(f"{line} error={type(error).__name__}")


def _begin(session: Session, *, read_only: bool, seconds: float) -> None:
    try:
        session.begin(read_only=read_only, seconds=seconds)
    except Exception as raised:
        meaning = session.error(raised)
        if meaning is None:
            raise
        raise meaning from raised


def _rollback(session: Session) -> None:
    try:
        session.rollback()
    except Exception as raised:
        meaning = session.error(raised)
        if meaning is None:
            raise
        raise meaning from raised
