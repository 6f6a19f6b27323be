"""What operators ask of machines, and what the machines answer."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import clob, index, number, table, time, word

Machine_Heartbeat = table(
    "ATLAS_PANDA.Machine_Heartbeat",
    "Machines whose daemon carries out requests of operators.",
    word("machine_name", 128, "host", key=True),
    word("service_name", 64, "what runs there, e.g. pandaserver", required=True),
    time("last_seen", "when its daemon last asked for requests"),
    index("machine_heartbeat_service_idx", "service_name", "last_seen"),
)

Async_Requests = table(
    "ATLAS_PANDA.Async_Requests",
    "Requests of operators to machines. Kept for a week.",
    word("request_id", 64, "drawn by the server; nobody can guess it", key=True),
    word("request_type", 64, "grep or sleep_echo", required=True),
    word("service_name", 64, "all machines of that service; NULL if a machine is named"),
    word("machine_name", 128, "the one machine; NULL if a service is named"),
    clob("parameters", "JSON object: what is asked, and by whom (requester)"),
    clob("expected_machines", "JSON list of the machines that shall answer"),
    time("created_at", "when it was asked"),
    index("async_requests_created_idx", "created_at"),
)

Async_Results = table(
    "ATLAS_PANDA.Async_Results",
    "What one machine answered to one request.",
    word("request_id", 64, "request", key=True),
    word("machine_name", 128, "host", key=True),
    word("status", 16, "running, done or failed", default="running"),
    clob("result", "text that was found or echoed"),
    clob("stderr", "always NULL here: nothing is run in a shell"),
    number("return_code", "0 found, 1 nothing found, 2 failed"),
    number("truncated", "1: there was more than may be kept", default=0),
    word("error_msg", 2048, "why it failed"),
    number("attempts", "how often a machine began", default=0),
    time("started_at", "when the machine began last"),
    time("finished_at", "when it ended"),
)
