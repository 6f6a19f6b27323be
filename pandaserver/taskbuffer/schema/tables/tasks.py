"""The part of the task layer that the server needs to work alone."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import number, table, word

JEDI_Work_Queue = table(
    "ATLAS_PANDA.JEDI_Work_Queue",
    "Queues of job generation.",
    number("queue_ID", key=True),
    word("queue_name", 32, "name", required=True),
    word("queue_type", 32, required=True),
    word("VO", 32, "virtual organisation", required=True),
    word("status", 64, "status"),
    number("partitionID"),
    number("stretchable"),
    number("queue_share"),
    number("queue_order"),
    word("criteria", 256, "matching expression"),
    word("variables", 256, "bind values"),
    word("queue_function", 32, "Resource = outside global shares"),
)
