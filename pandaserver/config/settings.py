"""Every setting of the web server once: name, type, default, meaning. The other sections stand beside this file.

The loader, the shipped template and ``docs/settings.md`` are made from these declarations. Names are the keys of
``panda_server.cfg``, in their historical spelling. Keys that older configurations contain and that mean nothing here
are listed in ``unused_settings.py``.
"""

# ruff: noqa: RUF009  (setting() is dataclasses.field with more facts)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pandaserver.config.daemon_settings import DaemonSettings
from pandaserver.config.logger_settings import LoggerSettings
from pandaserver.config.values import PluginEntry, TokenAuth, setting, words
from pandaserver.taskbuffer.connection_settings import Secret

__all__ = ["DaemonSettings", "LoggerSettings", "ServerSettings"]

MB: Final = 2**20

_DATASERVICE: Final = "pandaserver.dataservice"

_BACKENDS: Final = words("oracle", "postgres", "mysql", "sqlite", postgresql="postgres", mariadb="mysql")
_TOKENS: Final = words("none", "oidc", "scitokens", x509="none")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Section ``[server]`` of ``panda_server.cfg``."""

    SECTION: ClassVar[str] = "server"
    FILE: ClassVar[str] = "panda_server.cfg"

    logdir: Path = setting(
        Path("/var/log/panda"),
        "Directory of the files that accompany logs, such as core files; use the one of panda_common.cfg.",
        heading="Directories",
        sample="/var/log/panda",
    )
    cache_dir: Path = setting(
        Path("/var/log/panda/pandacache"),
        "Directory of uploaded files; must be the one that Apache serves as /cache/.",
        sample="/var/log/panda/pandacache",
    )
    schedconfig_dir: Path = setting(
        Path("/var/cache/pandaserver/schedconfig"),
        "Directory of the queue descriptions for pilots; must be the one that Apache serves as /cache/schedconfig/.",
        sample="/var/cache/pandaserver/schedconfig",
    )

    backend: str = setting(
        "oracle",
        "Kind of database: oracle, postgres, mysql or sqlite.",
        heading="Database",
        sample="postgres",
        words=_BACKENDS,
    )
    dbhost: str = setting("", "Host of the database; for Oracle its TNS alias or DSN.", sample="localhost")
    dbport: int = setting(0, "Port of the database; 0 means the usual one.", sample="0", at_least=0)
    dbuser: str = setting("", "Account of the server in the database.", sample="panda")
    dbpasswd: Secret = setting(Secret(""), "Password of that account.", sample="FIXME")
    dbname: str = setting("", "Name of the database; for sqlite the path of its file.", sample="panda_db")
    schemaPANDA: str = setting("ATLAS_PANDA", "Schema of the tables of live jobs and tasks.")
    schemaPANDAARCH: str = setting("ATLAS_PANDAARCH", "Schema of the tables of archived jobs.")
    schemaMETA: str = setting("ATLAS_PANDAMETA", "Schema of the tables of users and sites.")
    schemaDEFT: str = setting("ATLAS_DEFT", "Schema of the tables of the production system.")
    nDBConForFastCGIWSGI: int = setting(1, "Database connections of each web process.", sample="1", at_least=1)
    usedbtimeout: bool = setting(
        True, "Keep each connection in a child process, which a stalled database cannot make the web process wait for."
    )
    dbtimeout: int = setting(60, "How long one call of the database may take.", unit="s", at_least=1)
    dump_sql: bool = setting(False, "Log every SQL statement.")

    pserverhost: str = setting(
        "",
        "Name of this machine in URLs and in the database.",
        heading="Web server",
        default_text="full name of the machine",
    )
    pserverport: int = setting(25443, "Port of https.", at_least=1)
    pserverporthttp: int = setting(25080, "Port of plain http; panda-admin doctor asks there.", at_least=1)
    pserverhosthttp: str = setting("", "Name of this machine in http URLs of logs.", default_text="that of pserverhost")
    disableHTTP: bool = setting(False, "URLs of logs that this server hands out begin with https.")
    sandboxHostname: str = setting(
        "",
        "Host that is recorded for uploaded sandboxes.",
        default_text="the machine that received it",
    )
    entryVerbose: bool = setting(False, "Log the names of the parameters of each request.")
    dumpBadRequest: bool = setting(False, "Keep the body of failing requests in a temporary file req_dump_*.")

    max_sources_upload: int = setting(
        768 * MB, "Largest upload whose name starts with sources.", heading="Limits", unit="bytes", at_least=1
    )
    max_sandbox_upload: int = setting(100 * MB, "Largest upload of another sandbox or log.", unit="bytes", at_least=1)
    max_v1_upload: int = setting(
        10 * MB, "Largest upload of another sandbox through /api/v1.", unit="bytes", at_least=1
    )
    max_event_picking_upload: int = setting(10 * MB, "Largest event-picking request.", unit="bytes", at_least=1)
    max_checkpoint_upload: int = setting(500 * MB, "Largest checkpoint of a payload.", unit="bytes", at_least=1)
    max_user_cache: int = setting(
        0,
        "What one user may have uploaded to this machine in the last seven days, outputs of jobs aside; 0 means any.",
        unit="MB",
        at_least=0,
    )
    max_request_body: int = setting(
        200 * MB, "Largest body of a request that is no upload, after decompression.", unit="bytes", at_least=1
    )
    max_small_body: int = setting(
        20 * MB,
        "The same for requests that neither submit jobs nor report about many.",
        unit="bytes",
        at_least=1,
    )
    max_user_rate: int = setting(
        100,
        "Requests that one caller may make, counted on each machine; ten seconds' worth may come at once, and 0 means "
        "any number.",
        unit="1/s",
        at_least=0,
    )
    max_address_rate: int = setting(
        1000,
        "The same for one address, of callers who are neither pilots nor production.",
        unit="1/s",
        at_least=0,
    )
    max_pilot_rate: int = setting(
        0,
        "The same for one identity with the pilot or production role, which may stand for all pilots of many sites.",
        unit="1/s",
        at_least=0,
    )
    max_heavy_questions: int = setting(
        8, "Statistics, archived jobs and scripts that a machine looks for at once; 0 means any number.", at_least=0
    )
    max_jobs_per_submit: int = setting(5000, "Jobs that one submission may contain.", at_least=1)
    max_child_memory: int = setting(
        0,
        "Memory that a database child of a web process may use before it is replaced; 0 means any.",
        unit="MB",
        at_least=0,
    )
    setupper_idle: int = setting(
        300, "How long the Setupper child of a web process waits for work before it ends.", unit="s", at_least=1
    )

    compress_file_names: tuple[str, ...] = setting(
        (), "Regular expressions of names of uploads to be compressed on arrival.", heading="Behaviour"
    )
    record_sandbox_info: bool = setting(True, "Record uploads in the table of sandboxes.")
    record_statuschange: bool = setting(True, "Keep the history of the states of jobs.")
    main_vo: str = setting("atlas", "VO of jobs whose submitter does not name one.")
    client_version: str = setting(
        "0.0.0",
        "Version of panda-client that users should have, N.N.N: older clients tell their users so. 0.0.0: any will do.",
    )
    anonymous_reads: bool = setting(True, "Let anybody read jobs and tasks, as clients up to 1.5 expect.")

    token_authType: TokenAuth = setting(
        TokenAuth.none,
        "Tokens that are accepted beside X.509 certificates: None (or x509), oidc, or scitokens.",
        heading="Who may call",
        default_text="None",
        sample="None",
        words=_TOKENS,
    )
    auth_config: Path = setting(
        Path("/opt/panda/etc/panda/auth/"),
        "Directory of <vo>[.<group>]_auth_config.json, one file for each token issuer and group.",
        sample="/opt/panda/etc/panda/auth/",
    )
    auth_policies: Path | None = setting(
        None, "JSON file with the groups of each VO.", default_text="derived from the names of the files in auth_config"
    )
    token_audience: str = setting("https://pandaserver.cern.ch", "Audience that SciTokens must have.")
    token_issuers: tuple[str, ...] = setting(
        (), "Issuers of SciTokens that are believed: <vo>=<URL of the issuer>, as it stands in iss."
    )
    ban_list_url: str = setting(
        "",
        "URL of get_ban_users of another server, for a front node that has no database to read the list from.",
    )
    vomsdir: Path = setting(
        Path("/etc/grid-security/vomsdir"),
        "Directory of <vo>/*.lsc: the servers whose VOMS attributes in proxy certificates count.",
    )
    ca_certificates: Path = setting(
        Path("/etc/grid-security/certificates"), "Directory of the CAs that stand behind those servers, as Apache's."
    )
    production_dns: tuple[str, ...] = setting((), "Parts of DNs whose owners act with the production role.")
    pilot_vos: tuple[str, ...] = setting(
        (),
        "VOs all of whose members, by VOMS attribute, may run pilots, as earlier servers let those of atlas, osg, cms "
        "and ams.",
    )
    pilot_secrets: str = setting("pilot secrets", "Owner of the secrets that every pilot receives.")

    keyDir: Path | None = setting(
        None,
        "Directory of the key pairs of object stores; users with k in GRIDPREF get a file of it by its name.",
        heading="Credentials that are handed out",
    )
    proxy_dir: Path | None = setting(
        None,
        "Directory of delegated proxies, for users with p in GRIDPREF: files <DN>.pem, with a VOMS role "
        "<DN>+<role>.pem, both %-quoted (of slashes %2F). Whatever delegates and renews them writes them there.",
    )
    token_cache_config: Path | None = setting(
        None,
        "JSON file with the clients whose access tokens users with p in GRIDPREF get: "
        "{name: {client_id, secret, endpoint, use_token_key}}; endpoint is that of tokens or a discovery document.",
    )

    setupper_plugins: tuple[PluginEntry, ...] = setting(
        (PluginEntry("any", f"{_DATASERVICE}.SetupperSimplePlugin", "SetupperSimplePlugin"),),
        "Plug-ins that prepare new jobs: vo[|vo...]:module:Class[:group], separated by commas; any stands for all VOs.",
        heading="Plug-ins",
        sample=f"any:{_DATASERVICE}.SetupperSimplePlugin:SetupperSimplePlugin",
    )
    adder_plugins: tuple[PluginEntry, ...] = setting(
        (PluginEntry("any", f"{_DATASERVICE}.AdderSimplePlugin", "AdderSimplePlugin"),),
        "Plug-ins that register the outputs of jobs, in the same form.",
        sample=f"any:{_DATASERVICE}.AdderSimplePlugin:AdderSimplePlugin",
    )
    event_picker_plugins: tuple[PluginEntry, ...] = setting(
        (PluginEntry("any", f"{_DATASERVICE}.RequestPluginBase", "NoEventIndex"),),
        "Plug-in that looks events up for event-picking requests, in the same form.",
    )
    file_recovery_plugins: tuple[PluginEntry, ...] = setting(
        (PluginEntry("any", f"{_DATASERVICE}.RequestPluginBase", "NoFileRecovery"),),
        "Plug-in that lets tasks make lost files again.",
    )
    workflow_plugins: tuple[PluginEntry, ...] = setting(
        (PluginEntry("any", f"{_DATASERVICE}.RequestPluginBase", "NoWorkflowEngine"),),
        "Plug-in that runs workflows.",
    )

    def_sitename: str = setting(
        "BNL_ATLAS_1", "Name of the queue that stands for unknown ones.", heading="Default queue"
    )
    def_nickname: str = setting("BNL_ATLAS_1-condor", "Its nickname.")
    def_type: str = setting("production", "Its type.")
    def_status: str = setting("online", "Its status.")

    metrics_dir: Path | None = setting(
        None,
        "Directory in which the web processes of this machine count for /metrics; without one nothing is counted. "
        "Best on a file system in memory, such as /run/panda/metrics.",
        heading="Monitoring",
    )
    metrics_networks: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1"), "Networks whose machines may read /metrics.", default_text="this machine"
    )

    mbproxy_configFile: Path | None = setting(
        None,
        "JSON file with message brokers; if given, changes of jobs with the tag pc go to the table panda_messages.",
        heading="Other services",
        aliases=("mq_configFile",),
    )
    nrun_interval: int = setting(
        5, "Minutes for which one machine counts running jobs (add_sub), before it is another one's turn.", at_least=1
    )
    nrun_hosts: int = setting(1, "Machines that take turns.", at_least=1)
    nrun_snum: int = setting(0, "Number of this machine among them, from 0; 999: never.", at_least=0)
    sandbox_check_url: str = setting(
        "https://{host}:25443/cache/{file}",
        "Address at which copyArchive asks whether a {host} still has a recorded sandbox {file}.",
    )
    emailSMTPsrv: str = setting("", "Mail server, host or host:port; without one nobody gets mail.")
    emailSender: str = setting("panda-no-reply@localhost", "Address that mail comes from.")

    CRIC_URL_SITES: str = setting(
        "",
        "Dump of the sites: a URL, `file:` or a path; without it nothing is read.",
        heading="Sources of the site configuration",
    )
    CRIC_URL_DDMENDPOINTS: str = setting("", "Dump of the storage endpoints, in the same way.")
    CRIC_URL_SCHEDCONFIG: str = setting("", "Dump of the queues.")
    CRIC_URL_DDMBLACKLIST: str = setting("", "Storage endpoints that nothing may be written to.")
    CRIC_URL_DDMBLACKLIST_READ: str = setting("", "Storage endpoints that nothing may be read from.")
    RUCIO_RSE_USAGE: str = setting("", "Space of the storage endpoints, in bytes.")
    CRIC_URL_TAGS: str = setting("", "Software of the queues.")
    CRIC_URL_CM: str = setting("", "Closeness of pairs of sites.")
    NWS_URL: str = setting("", "Measurements of the network between sites.")
    configurator_use_cert: bool = setting(
        True, "Show the certificate in X509_USER_PROXY, if that is set, to sources that are read by https."
    )
    proxy_cache_roles: tuple[str, ...] = setting(
        ("atlas", "atlas:/atlas/Role=production", "atlas:/atlas/Role=pilot"),
        "VOMS roles for which delegated proxies of users are kept fresh.",
    )
