"""Description of queues, sites and storage, filled by the configurator."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, clob, flag, number, table, time, word

schedconfig_json = table(
    "ATLAS_PANDA.schedconfig_json",
    "Description of each queue.",
    word("panda_queue", 50, "queue name", key=True),
    clob("data", "full queue description as JSON; JSON"),
    time("last_update", "UTC"),
)

Site = table(
    "ATLAS_PANDA.Site",
    "Sites of the experiment.",
    word("site_name", 52, key=True),
    word("role", 256, "e.g. nucleus"),
    number("tier_level", "0..3"),
    word("state", 52, "ACTIVE or other"),
)

Panda_Site = table(
    "ATLAS_PANDA.Panda_Site",
    "Which queue belongs to which site.",
    word("panda_site_name", 52, "queue", key=True),
    word("site_name", 52, "experiment site", required=True),
    word("storage_site_name", 52, "site owning default storage"),
    word("default_ddm_endpoint", 52, "endpoint"),
    flag("is_local"),
)

DDM_Endpoint = table(
    "ATLAS_PANDA.DDM_Endpoint",
    "Storage endpoints.",
    word("ddm_endpoint_name", 52, key=True),
    word("site_name", 52),
    word("ddm_spacetoken_name", 52),
    big("space_total", "GB"),
    big("space_free", "GB"),
    big("space_used", "GB"),
    flag("is_tape", "Y/N"),
    word("type", 20, "e.g. DATADISK, DATATAPE, TEST"),
    flag("blacklisted", "Y/N"),
    big("space_expired", "GB secondary data"),
    time("space_timestamp"),
    flag("blacklisted_read", "Y/N"),
    flag("blacklisted_write", "Y/N"),
    clob("detailed_status", "per-activity status JSON; JSON"),
    big("space_min_free"),
    big("space_unavailable"),
)

Panda_DDM_Relation = table(
    "ATLAS_PANDA.Panda_DDM_Relation",
    "Endpoints that a queue reads from and writes to, in order.",
    word("panda_site_name", 52, key=True),
    word("ddm_endpoint_name", 52, key=True),
    flag("is_local", "Y/N"),
    word("roles", 60, "e.g. read_lan, write_lan, read_wan"),
    number("order_read", "1 first"),
    number("order_write", "1 first"),
    flag("default_read", "Y/N"),
    flag("default_write", "Y/N"),
    word("scope", 52, "default, analysis, or other activity", key=True),
)

SW_Tags = table(
    "ATLAS_PANDA.SW_Tags",
    "Software available at each queue.",
    word("panda_queue", 50, "queue"),
    clob("data", "JSON of software tags"),
    time("last_update", "UTC"),
)

Network_Matrix_KV = table(
    "ATLAS_PANDA.Network_Matrix_KV",
    "Measurements between pairs of sites.",
    word("src", 256, "site", key=True),
    word("dst", 256, "site", key=True),
    word("key", 256, "metric name", key=True),
    big("value", "metric value"),
    time("ts", "UTC"),
)

Site_Stats = table(
    "ATLAS_PANDA.Site_Stats",
    "Numbers that brokerage keeps about sites.",
    word("site_name", 52, key=True),
    word("key", 52, key=True),
    big("value"),
    time("ts"),
)
