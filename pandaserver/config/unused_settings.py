"""Keys that older configuration files contain and that change nothing here: accepted, with a note that says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OLD: Final = "Was not used by earlier servers either."
_ALWAYS: Final = "Always so."
_PROXIES: Final = "Proxies are not handed out with jobs; who may have one asks for it (proxy_dir)."
_HELPERS: Final = "Helper processes find the code and their home by themselves."
_EVENT_INDEX: Final = "The server does not ask the event index."

#: Those whose value is looked at nevertheless.
CHECKED: Final = frozenset({"schemaJEDI"})

#: Section -> key -> why it has no effect.
UNUSED: Final[Mapping[str, Mapping[str, str]]] = {
    "server": {
        "loggername": "The loggers of remote monitoring have the names of their modules.",
        "native_python": _HELPERS,
        "native_python32": _OLD,
        "dq2_dir": _OLD,
        "globus_dir": _OLD,
        "lfcClient_dir": _OLD,
        "certdir": _OLD,
        "pandaCommon_dir": _HELPERS,
        "pandaPython_dir": _HELPERS,
        "home_dir_cwd": _HELPERS,
        "nDBConnection": "Use nDBConForFastCGIWSGI.",
        "endpoint_mapfile": "Key pairs of object stores are found by the names of their files in keyDir.",
        "pserveralias": "Mail to users does not name this machine.",
        "add_serialized": "Outputs are settled in batches that lock what they change in one order.",
        "useProxyCache": _PROXIES,
        "pandaProxy_URLSSL": _PROXIES,
        "pandaProxy_ca_certs": _PROXIES,
        "def_queue": "A queue has one name.",
        "def_ddm": "The queue that stands for unknown ones has no storage.",
        "CO2_BEARER_TOKEN": "This server does not account for carbon yet.",
        "dbbridgeverbose": "Each call is logged by DBProxy.",
        "cursor_dump": "Use dump_sql.",
        "schemaJEDI": "Must be schemaPANDA, if given.",
        "schemaGRISLI": "No table of that schema is used.",
        "schemaEI": _EVENT_INDEX,
        "ei_dbhost": _EVENT_INDEX,
        "ei_dbuser": _EVENT_INDEX,
        "ei_dbpasswd": _EVENT_INDEX,
        "ei_dbname": _EVENT_INDEX,
        "ei_dbtimeout": _EVENT_INDEX,
        "dbhostmysql": _OLD,
        "dbportmysql": _OLD,
        "dbnamemysql": _OLD,
        "dbusermysql": _OLD,
        "dbpasswdmysql": _OLD,
        "pserverportcache": _OLD,
        "useWSGI": _ALWAYS,
        "useFastCGI": "The server is a WSGI application.",
        "useJEDI": _ALWAYS,
        "nJobsInGetJob": "A request for jobs locks what it selects and needs no list of candidates.",
        "closer_plugins": _OLD,
        "emailLogin": _OLD,
        "emailPass": _OLD,
        "emailDB": _OLD,
        "pandaEmailNotification": "A schema that does not match is refused and logged, not mailed.",
        "def_dq2url": _OLD,
        "def_gatekeeper": _OLD,
        "httpProxy": _OLD,
        "enableDynamicTA": _OLD,
        "enableRedirection": _OLD,
        "cacheUseCassandra": _OLD,
        "cacheIgnoreCassandraError": _OLD,
        "cacheKeySpace": _OLD,
        "cacheFileTable": _OLD,
    },
    "daemon": {
        "n_dbconn": "Each worker has its own database connection.",
        "use_tbif": "Each worker has its own database connection.",
    },
    "logger": {
        "migrated": _OLD,
        "nemitters": "One sender with a bounded queue serves each collector.",
    },
}

#: Sections that belong to other programs.
FOREIGN_SECTIONS: Final = frozenset({"kafka", "utils", "mcp"})
