"""Canonical SQL becomes the text of each backend; what is outside the subset is refused with a hint."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.base import Dialect
from pandaserver.taskbuffer.dialects.outgoing import Outgoing
from pandaserver.taskbuffer.dialects.tokens import SqlRefused

BACKENDS = ("sqlite", "postgres", "mysql", "oracle")
T = "ATLAS_PANDA.jobsActive4"


def dialect(backend: str) -> Dialect:
    return dialect_for(ConnectionSettings(backend, "panda"))


def compiled(backend: str, sql: str, **binds: object) -> str:
    made = dialect(backend)
    return made.bound(made.statement(sql), binds, Outgoing(time=str))[0]


SPELLINGS = [
    (
        f"SELECT PandaID FROM {T} WHERE cloud = :cloud",
        "SELECT PandaID FROM jobsActive4 WHERE cloud = :cloud",
        "SELECT PandaID FROM atlas_panda.jobsactive4 WHERE cloud = %(cloud)s",
        "SELECT PandaID FROM ATLAS_PANDA.jobsactive4 WHERE cloud = %(cloud)s",
        "SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE cloud = :b_cloud",
    ),
    (
        f"SELECT PandaID FROM {T} WHERE PandaID IN (:ids[]) AND cloud NOT IN (:clouds[])",
        "SELECT PandaID FROM jobsActive4 WHERE PandaID IN (:ids__0, :ids__1) AND cloud NOT IN ()",
        "SELECT PandaID FROM atlas_panda.jobsactive4 WHERE PandaID = ANY (%(ids)s) AND cloud <> ALL (%(clouds)s)",
        "SELECT PandaID FROM ATLAS_PANDA.jobsactive4 WHERE PandaID IN %(ids)s AND cloud NOT IN %(clouds)s",
        "SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:b_ids__0, :b_ids__1)"
        " AND cloud NOT IN (SELECT NULL FROM DUAL WHERE 1 = 0)",
    ),
    (
        f"SELECT a FROM {T} WHERE t < CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE",
        "SELECT a FROM jobsActive4 WHERE t < :now__minus_n_MINUTE",
        "SELECT a FROM atlas_panda.jobsactive4 WHERE t < (LOCALTIMESTAMP - %(n)s * INTERVAL '1 MINUTE')",
        "SELECT a FROM ATLAS_PANDA.jobsactive4 WHERE t < (UTC_TIMESTAMP(6) - INTERVAL %(n)s * 60 SECOND)",
        "SELECT a FROM ATLAS_PANDA.jobsActive4"
        " WHERE t < (SYS_EXTRACT_UTC(SYSTIMESTAMP) - NUMTODSINTERVAL(:b_n, 'MINUTE'))",
    ),
    (
        f"UPDATE {T} SET t = CURRENT_TIMESTAMP + INTERVAL '2' DAY",
        "UPDATE jobsActive4 SET t = :now__plus_2_DAY",
        "UPDATE atlas_panda.jobsactive4 SET t = (LOCALTIMESTAMP + 2 * INTERVAL '1 DAY')",
        "UPDATE ATLAS_PANDA.jobsactive4 SET t = (UTC_TIMESTAMP(6) + INTERVAL 2 * 86400 SECOND)",
        "UPDATE ATLAS_PANDA.jobsActive4 SET t = (SYS_EXTRACT_UTC(SYSTIMESTAMP) + NUMTODSINTERVAL(2, 'DAY'))",
    ),
    (
        f"SELECT EXTRACT(HOUR FROM j.t) AS h FROM {T} j ORDER BY a FETCH FIRST :n ROWS ONLY",
        "SELECT CAST(strftime('%H', j.t) AS INTEGER) AS h FROM jobsActive4 j ORDER BY a LIMIT :n",
        "SELECT EXTRACT(HOUR FROM j.t) AS h FROM atlas_panda.jobsactive4 j ORDER BY a LIMIT %(n)s",
        "SELECT EXTRACT(HOUR FROM j.t) AS h FROM ATLAS_PANDA.jobsactive4 j ORDER BY a LIMIT %(n)s",
        "SELECT EXTRACT(HOUR FROM CAST(j.t AS TIMESTAMP)) AS h FROM ATLAS_PANDA.jobsActive4 j ORDER BY a"
        " FETCH FIRST :b_n ROWS ONLY",
    ),
    (
        f"SELECT a FROM {T} WHERE b = :b FOR UPDATE SKIP LOCKED",
        "SELECT a FROM jobsActive4 WHERE b = :b ",
        "SELECT a FROM atlas_panda.jobsactive4 WHERE b = %(b)s FOR UPDATE SKIP LOCKED",
        "SELECT a FROM ATLAS_PANDA.jobsactive4 WHERE b = %(b)s FOR UPDATE SKIP LOCKED",
        "SELECT a FROM ATLAS_PANDA.jobsActive4 WHERE b = :b_b FOR UPDATE SKIP LOCKED",
    ),
    (
        "SELECT KEY, c.release, LENGTH(value) FROM ATLAS_PANDA.Config c WHERE value LIKE '5%'",
        'SELECT "key", c."release", LENGTH(value) FROM Config c WHERE value LIKE \'5%\'',
        "SELECT \"key\", c.\"release\", LENGTH(value) FROM atlas_panda.config c WHERE value LIKE '5%%' ESCAPE ''",
        'SELECT "key", c."release", CHAR_LENGTH(value) FROM ATLAS_PANDA.config c'
        " WHERE value LIKE '5%%' ESCAPE '\x01'",
        'SELECT "KEY", c."RELEASE", LENGTH(value) FROM ATLAS_PANDA.Config c WHERE value LIKE \'5%\'',
    ),
    (
        f"SELECT jobsActive4.a FROM {T}",
        "SELECT jobsActive4.a FROM jobsActive4",
        "SELECT jobsActive4.a FROM atlas_panda.jobsactive4",
        "SELECT jobsactive4.a FROM ATLAS_PANDA.jobsactive4",
        "SELECT jobsActive4.a FROM ATLAS_PANDA.jobsActive4",
    ),
]


@pytest.mark.parametrize(("backend", "position"), [(b, n) for n, b in enumerate(BACKENDS, 1)])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s[0][:50])
def test_each_backend_gets_its_own_spelling(spelling: tuple[str, ...], backend: str, position: int) -> None:
    binds = {"cloud": "x", "ids": [1, 2], "clouds": [], "n": 5, "b": 1}
    assert compiled(backend, spelling[0], **binds) == spelling[position]


REFUSED = [
    ("SELECT PandaID FROM jobsActive4", "write the schema before table"),
    (f"SELECT * FROM {T}", "name the columns"),
    (f"SELECT j.* FROM {T} j", "name the columns"),
    (f"SELECT a FROM {T} WHERE b < SYSDATE", "CURRENT_TIMESTAMP"),
    (f"SELECT a FROM {T} WHERE b < CURRENT_DATE - 1", "CURRENT_TIMESTAMP"),
    (f"SELECT a FROM {T} WHERE b < CURRENT_TIMESTAMP - :n", "span of time"),
    (f"SELECT a FROM {T} WHERE b < CURRENT_TIMESTAMP - :n * INTERVAL '1' FORTNIGHT", "span of time"),
    (f"SELECT a FROM {T} WHERE b + INTERVAL '1' DAY < :t", "CURRENT_TIMESTAMP"),
    (f"SELECT a FROM {T} WHERE b < :n/1440", "1.0 /"),
    (f"SELECT a FROM {T} WHERE ROWNUM < 3", "FETCH FIRST"),
    (f"SELECT a FROM {T} LIMIT 3", "FETCH FIRST"),
    (f"SELECT a FROM {T} FETCH FIRST :n ROWS ONLY FOR UPDATE", "tx.claim"),
    (f"SELECT DISTINCT a FROM {T} FOR UPDATE", "no rows to lock"),
    (f"SELECT a FROM {T} FOR UPDATE OF a", "row lock"),
    (f"SELECT a FROM {T} FOR UPDATE WAIT 5", "row lock"),
    (f"SELECT a FROM {T} GROUP BY a FOR UPDATE", "no rows to lock"),
    (f"SELECT NVL(a, 1) FROM {T}", "COALESCE"),
    (f"SELECT TO_CHAR(a) FROM {T}", "Python"),
    (f"SELECT CAST(a AS INTEGER) FROM {T}", "Python"),
    (f"SELECT MY_FUNCTION(a) FROM {T}", "function MY_FUNCTION"),
    ("SELECT ATLAS_PANDA.S.NEXTVAL FROM ATLAS_PANDA.Config", "alias"),
    (f"INSERT INTO {T} (a) VALUES (1) RETURNING a", "next_ids"),
    (f"INSERT INTO {T} (a) VALUES (1), (2)", "tx.insert"),
    (f"INSERT INTO {T} (a) VALUES (1) ON CONFLICT DO NOTHING", "tx.upsert"),
    (f"MERGE INTO {T} USING x ON (1=1)", "starts with"),
    (f"SELECT a FROM {T} AS j", "no AS"),
    (f"SELECT a FROM {T} j LEFT JOIN (SELECT b FROM {T}) AS k ON j.a = k.b", "no AS"),
    (f"UPDATE {T} j SET a = 1", "no alias"),
    (f"DELETE FROM {T} j WHERE a = 1", "no alias"),
    (f"SELECT a FROM {T} WHERE b = ''", "IS NULL"),
    (f"SELECT a FROM {T} WHERE b = TRUE", "1 or 0"),
    (f"SELECT a || b FROM {T}", "concatenate in Python"),
    (f"SELECT a % b FROM {T}", "MOD"),
    (f"SELECT a / b FROM {T}", "1.0 /"),
    (f"SELECT a::int FROM {T}", "convert"),
    (f"SELECT a FROM {T};", "one statement"),
    (f"SELECT a FROM {T} WHERE b = ?", ":name"),
    (f"SELECT a FROM {T} WHERE b = 'x", "never ends"),
    (f"SELECT a FROM {T} WHERE b = E'x'", "prefixed string"),
    (f"SELECT a FROM {T} WHERE b = DATE '2020-01-01'", "DATE"),
    (f"SELECT a FROM {T} WHERE b = TIMESTAMP '2020-01-01'", "write a bind"),
    (f"SELECT a FROM {T} WHERE b = :ids[]", "IN (:ids[])"),
    (f"SELECT a FROM {T} WHERE b IN (1, :ids[])", "IN (:ids[])"),
    (f"SELECT a FROM {T} WHERE b = :a__b", "two underscores"),
    (f"SELECT a FROM {T} WHERE (b = 1", "not closed"),
    (f"SELECT a FROM {T} WHERE b = 1)", "never opened"),
    ("SELECT 1", "without FROM"),
    (f"SELECT a FROM {T} WHERE b IN (SELECT 1)", "without FROM"),
    (f"SELECT a FROM {T} ORDER BY a NULLS LAST", "CASE WHEN"),
    (f"SELECT a AS size FROM {T}", "reserved in Oracle"),
    (f"SELECT a, COUNT(*) FROM {T} GROUP BY 1", "not positions"),
    (f"SELECT a FROM {T} WHERE b LIKE a", "LIKE takes"),
    (f"SELECT a FROM {T} -- c\nEXCEPT SELECT a FROM {T}", "NOT EXISTS"),
    (f"SELECT a --x\nFROM {T}", "differently"),
    (f"SELECT a /*! STRAIGHT_JOIN */ FROM {T}", "differently"),
    (f"SELECT a /* /* */ FROM {T}", "differently"),
    (f"UPDATE {T} SET a = :a, b = a", "MySQL"),
    (f"SELECT a FROM {T}, jobsDefined4", "schema"),
    (f"SELECT a FROM {T} RIGHT JOIN {T} j ON 1 = 1", "LEFT JOIN"),
    ("DROP TABLE ATLAS_PANDA.Config", "starts with"),
]


@pytest.mark.parametrize(("sql", "hint"), REFUSED, ids=[sql.replace(T, "t")[:60] for sql, _ in REFUSED])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_subset_lacks_is_refused_with_a_hint(backend: str, sql: str, hint: str) -> None:
    with pytest.raises(SqlRefused, match="(?i)" + re.escape(hint)):
        dialect(backend).statement(sql)


ACCEPTED = [
    f"SELECT a FROM {T} WHERE EXISTS (SELECT b FROM {T} k WHERE k.c = 1)",
    f"SELECT COUNT(*), COUNT(DISTINCT a), a * 2 FROM {T} GROUP BY a HAVING COUNT(*) > 1 ORDER BY 2 DESC",
    f"SELECT a * 1.0 / b FROM {T}",
    f"SELECT CASE WHEN a IS NULL THEN 'x' ELSE 'y' END AS kind FROM {T} WHERE b BETWEEN :low AND :high",
    f"WITH waiting AS (SELECT a FROM {T}) SELECT w.a FROM waiting w INNER JOIN {T} j ON j.a = w.a",
    f"SELECT a FROM {T} UNION ALL SELECT a FROM {T} ORDER BY a",
    f"SELECT x.a FROM (SELECT a FROM {T}) x",
    f"SELECT a, ROW_NUMBER() OVER (PARTITION BY b ORDER BY c DESC) AS place FROM {T}",
    f"INSERT INTO {T} (a, b) SELECT a, :b FROM {T} WHERE c = 1",
    f"INSERT INTO {T} (a, b) VALUES (:a, CURRENT_TIMESTAMP)",
    f"UPDATE {T} SET a = a + 1, b = :b WHERE c IN (SELECT d FROM ATLAS_PANDA.Config)",
    f"DELETE FROM {T} WHERE a = :a",
    f"SELECT a FROM {T} WHERE b LIKE :p ESCAPE '!'",
    f"SELECT a FROM {T} FOR UPDATE NOWAIT",
]


@pytest.mark.parametrize("sql", ACCEPTED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_subset_is_accepted(backend: str, sql: str) -> None:
    assert dialect(backend).statement(sql).text


@pytest.mark.parametrize("backend", BACKENDS)
def test_result_columns_are_called_as_in_the_statement(backend: str) -> None:
    sql = f"SELECT DISTINCT PandaID, j.jobStatus, j.a AS oneName, COUNT(*) n, MAX(t) FROM {T} j GROUP BY b"
    assert dialect(backend).statement(sql).columns == ("PandaID", "jobStatus", "oneName", "n", "MAX(t)")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_list_longer_than_oracles_limit_is_refused(backend: str) -> None:
    with pytest.raises(ValueError, match="ids has 1001 members"):
        compiled(backend, f"SELECT a FROM {T} WHERE a IN (:ids[])", ids=list(range(1001)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_missing_bind_is_named(backend: str) -> None:
    with pytest.raises(TypeError, match="'status' is missing"):
        compiled(backend, f"SELECT a FROM {T} WHERE a = :status")


def test_lists_of_similar_length_share_a_text() -> None:
    sql = f"SELECT a FROM {T} WHERE a IN (:ids[])"
    assert compiled("oracle", sql, ids=[1] * 600) == compiled("oracle", sql, ids=[1] * 1000)


def test_schemas_are_named_by_the_configuration() -> None:
    made = dialect_for(ConnectionSettings("postgres", "x", schemas={"ATLAS_PANDA": "DOMA_PANDA"}))
    assert made.statement(f"SELECT a FROM {T}").text == "SELECT a FROM doma_panda.jobsactive4"


def test_making_a_dialect_loads_no_driver() -> None:
    program = (
        "import sys\n"
        "from pandaserver.taskbuffer.connection_settings import ConnectionSettings\n"
        "from pandaserver.taskbuffer.dialects import dialect_for\n"
        "import pandaserver.taskbuffer.OraDBProxy\n"
        "for b in ('sqlite', 'postgres', 'mysql', 'oracle'): dialect_for(ConnectionSettings(b, 'x'))\n"
        "print({'sqlite3', 'psycopg2', 'MySQLdb', 'oracledb', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
