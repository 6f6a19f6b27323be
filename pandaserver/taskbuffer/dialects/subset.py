"""The canonical subset of SQL as tables: words and functions it has, and what to write instead of the others."""

from __future__ import annotations

from typing import Final

#: Longest list that ``IN (:ids[])`` takes: Oracle's limit.
LONGEST_LIST: Final = 1000

STARTS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})

UNITS: Final = frozenset({"SECOND", "MINUTE", "HOUR", "DAY"})
PARTS: Final = frozenset({"YEAR", "MONTH", "DAY", "HOUR", "MINUTE"})

FUNCTIONS: Final = frozenset(
    """
    COUNT SUM MIN MAX AVG COALESCE NULLIF LOWER UPPER LENGTH SUBSTR REPLACE TRIM ABS MOD
    ROW_NUMBER RANK DENSE_RANK LAG LEAD
    """.split()
)

#: Words of the subset. None of them can be a column.
KEYWORDS: Final = frozenset(
    """
    SELECT DISTINCT FROM JOIN LEFT INNER OUTER CROSS ON WHERE AND OR NOT IN IS NULL LIKE ESCAPE BETWEEN EXISTS CASE WHEN
    THEN ELSE END GROUP BY HAVING ORDER ASC DESC UNION ALL AS INSERT INTO VALUES UPDATE SET DELETE WITH OVER PARTITION
    """.split()
)

#: Columns of the schema that are reserved in some backend; compilers quote them.
RESERVED_COLUMNS: Final = frozenset({"KEY", "RELEASE", "ROLE"})

_TIME: Final = "write CURRENT_TIMESTAMP, or CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE"
_ROWS: Final = "write FETCH FIRST :n ROWS ONLY"
_IDS: Final = "write tx.next_ids(sequence, n) and insert the value"
_UPSERT: Final = "write tx.upsert(table, key, values)"
_SETS: Final = "write EXISTS or NOT EXISTS"
_PYTHON: Final = "select the value and convert it in Python"

#: Word -> what to write instead.
INSTEAD: Final[dict[str, str]] = {
    **dict.fromkeys(("SYSDATE", "SYSTIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIMESTAMP"), _TIME),
    **dict.fromkeys(("NOW", "UTC_TIMESTAMP", "DATE_SUB", "DATE_ADD", "NUMTODSINTERVAL", "INTERVAL"), _TIME),
    **dict.fromkeys(("ROWNUM", "LIMIT", "OFFSET", "TOP"), _ROWS),
    **dict.fromkeys(("NVL", "IFNULL", "ISNULL", "NVL2"), "write COALESCE"),
    **dict.fromkeys(("DECODE", "IIF", "GREATEST", "LEAST"), "write CASE WHEN ... THEN ... ELSE ... END"),
    **dict.fromkeys(("TO_CHAR", "TO_NUMBER", "TO_DATE", "TO_TIMESTAMP", "CAST", "DATE_FORMAT", "STRFTIME"), _PYTHON),
    **dict.fromkeys(("NEXTVAL", "CURRVAL", "RETURNING", "LAST_INSERT_ID"), _IDS),
    **dict.fromkeys(("MERGE", "CONFLICT", "DUPLICATE"), _UPSERT),
    **dict.fromkeys(("EXCEPT", "INTERSECT", "MINUS"), _SETS),
    **dict.fromkeys(("ANY", "SOME"), "write IN or EXISTS"),
    **dict.fromkeys(("ILIKE", "REGEXP", "RLIKE", "SIMILAR", "GLOB"), "write LOWER(x) LIKE :pattern"),
    **dict.fromkeys(("TRUE", "FALSE"), "write 1 or 0, or the character that the column holds"),
    **dict.fromkeys(("RIGHT", "FULL", "NATURAL", "USING"), "write LEFT JOIN ... ON or INNER JOIN ... ON"),
    **dict.fromkeys(("JSON_VALUE", "JSON_EXTRACT", "JSON_QUERY"), "select the text and parse it in Python"),
    "NULLS": "order by CASE WHEN x IS NULL THEN 1 ELSE 0 END first",
    "DUAL": "write tx.now() or compute the value in Python",
    "RECURSIVE": "read level by level, or the whole small table, in Python",
    "LATERAL": "write a plain join",
    "NOWAIT": "write it after FOR UPDATE only",
    "SKIP": "write it after FOR UPDATE only",
    "CONNECT": "read the tree and walk it in Python",
}

#: Operator -> what to write instead.
OPERATORS_INSTEAD: Final[dict[str, str]] = {
    "||": "concatenate in Python (Oracle reads NULL as an empty string here, others do not)",
    "/": "write x * 1.0 / y (some backends divide integers as integers, some do not)",
    "%": "write MOD(a, b)",
}

#: Names that Oracle takes for keywords, so that no alias can have them.
ORACLE_RESERVED: Final = frozenset(
    """
    ACCESS ADD ALTER AUDIT CHAR CHECK CLUSTER COLUMN COMMENT COMPRESS CREATE CURRENT DATE DECIMAL DEFAULT DROP EXCLUSIVE
    FILE FLOAT GRANT IDENTIFIED IMMEDIATE INCREMENT INDEX INITIAL INTEGER LEVEL LOCK LONG MAXEXTENTS MLSLABEL MODE
    MODIFY NOAUDIT NOCOMPRESS NUMBER OF OFFLINE ONLINE OPTION PCTFREE PRIOR PUBLIC RAW RENAME RESOURCE REVOKE ROW ROWID
    ROWS SESSION SHARE SIZE SMALLINT START SUCCESSFUL SYNONYM TABLE TO TRIGGER UID UNIQUE USER VALIDATE VARCHAR VARCHAR2
    VIEW WHENEVER
    """.split()
)
