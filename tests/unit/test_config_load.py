"""A configuration as a whole: typed values, their sources, and all mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pandaserver.config.finding import ConfigurationError, Finding, Severity
from pandaserver.config.panda_config import PandaConfig, connection_settings, load, operation_settings
from pandaserver.config.values import PluginEntry, TokenAuth

GOOD = """\
backend = postgres
dbhost = db.example.org
dbuser = panda
dbpasswd = 00070
dbname = panda_db
"""


class Place:
    """A directory with configuration files, and the findings after reading them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ: dict[str, str] = {}

    def load(self, server: str = GOOD, rest: str = "", common: str = "[logger]\n") -> PandaConfig:
        (self.directory / "panda_server.cfg").write_text(f"[server]\n{server}\n{rest}\n")
        (self.directory / "panda_common.cfg").write_text(common)
        return load(self.environ, [self.directory])

    def finding(self, server: str = GOOD, rest: str = "", common: str = "[logger]\n") -> Finding:
        (found,) = self.load(server, rest, common).findings
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_good_configuration_has_no_findings(place: Place) -> None:
    assert place.load().findings == ()


def test_absent_settings_have_their_defaults(place: Place) -> None:
    server = place.load().server
    assert (server.pserverport, server.max_jobs_per_submit, server.max_sources_upload) == (25443, 5000, 768 * 2**20)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("dbport = 05432", "dbport", 5432),
        ("dump_sql = True", "dump_sql", True),
        ("usedbtimeout = false", "usedbtimeout", False),
        ("token_authType = None", "token_authType", TokenAuth.none),
        ("token_authType = x509", "token_authType", TokenAuth.none),
        ("token_authType = oidc", "token_authType", TokenAuth.oidc),
        ("cache_dir = /x/y", "cache_dir", Path("/x/y")),
        ("mq_configFile = /x.json", "mbproxy_configFile", Path("/x.json")),
        ("mbproxy_configFile = None", "mbproxy_configFile", None),
        ("production_dns = /CN=a, /CN=b,\n  /CN=c", "production_dns", ("/CN=a", "/CN=b", "/CN=c")),
        ("sandboxHostname = None", "sandboxHostname", ""),
        ("auth_policies =", "auth_policies", None),
    ],
)
def test_a_text_becomes_a_value_of_its_type(place: Place, line: str, name: str, value: object) -> None:
    config = place.load(GOOD + line)
    assert config.findings == ()
    assert getattr(config.server, name) == value


@pytest.mark.parametrize(
    ("word", "backend"), [("postgresql", "postgres"), ("mariadb", "mysql"), ("MySQL", "mysql"), ("oracle", "oracle")]
)
def test_a_backend_has_several_spellings(place: Place, word: str, backend: str) -> None:
    assert place.load(GOOD.replace("postgres", word)).server.backend == backend


def test_a_numeric_password_stays_text(place: Place) -> None:
    assert place.load().server.dbpasswd.reveal() == "00070"


def test_a_password_does_not_show_in_the_printed_settings(place: Place) -> None:
    config = place.load()
    assert "00070" not in f"{config.server!r} {connection_settings(config.server)!r} {config!r}"


@pytest.mark.parametrize(
    ("line", "message", "suggestion"),
    [
        ("usedbtimeout = yes", "'yes' is neither True nor False", ""),
        ("dbport = 5432 # usual", "'5432 # usual' is not a whole number", "put the comment on a line of its own"),
        ("dbtimeout = 0", "0 is too small", "at least 1"),
        ("dbtimeout = 1.5", "'1.5' is not a whole number", ""),
        ("token_authType = oidcc", "'oidcc' is not one of none, oidc, scitokens, x509", "did you mean oidc?"),
        ("cache_dir =", "is empty", "give a path, or remove the line for the default"),
        ("main_vo = 100%", "a single % is not a value", "write %% for a percent sign"),
        ("dbport = 1\ndbport = 2", "appears twice, first in line 7", "remove one of the two"),
        ("schemaJEDI = X", "must be schemaPANDA, as both kinds of tables are read together", ""),
        ("client_version = 1.6", "is no version that clients understand", "write N.N.N"),
        ("adder_plugins = atlas:x", "'atlas:x' is not a plug-in", "write vo[|vo...]:module:Class[:group]"),
    ],
)
def test_an_unreadable_value_is_an_error(place: Place, line: str, message: str, suggestion: str) -> None:
    found = place.finding(GOOD + line)
    assert (found.severity, found.section, found.key) == (Severity.error, "server", line.split()[0])
    assert (found.message, found.suggestion) == (message, suggestion)
    assert found.file == str(place.directory / "panda_server.cfg")
    assert found.line == 6 + line.count("\n") + 1


def test_a_misspelt_key_names_the_nearest_one(place: Place) -> None:
    found = place.finding(GOOD + "dbtimeuot = 5")
    assert (found.severity, found.line) == (Severity.warning, 7)
    assert str(found).endswith(
        "panda_server.cfg:7: warning: [server] dbtimeuot: is not a known setting (did you mean dbtimeout?)"
    )


def test_a_key_without_effect_is_accepted_and_said_to_have_none(place: Place) -> None:
    found = place.finding(GOOD + "useFastCGI = False")
    assert (found.severity, found.key) == (Severity.note, "useFastCGI")
    assert found.message == "has no effect here: The server is a WSGI application."
    assert place.load(GOOD + "schemaJEDI = ATLAS_PANDA").findings == (), "it is looked at"


def test_sections_of_other_programs_are_accepted_silently(place: Place) -> None:
    assert place.load(common="[logger]\n[kafka]\ntopic = x\n[utils]\nrotate_h = 4\n").findings == ()


def test_an_unknown_section_is_a_warning(place: Place) -> None:
    found = place.finding(rest="[deamon]\nenable = True")
    assert (found.severity, found.section, found.suggestion) == (Severity.warning, "deamon", "did you mean daemon?")


def test_scitokens_need_issuers(place: Place) -> None:
    found = place.finding(GOOD + "token_authType = scitokens")
    assert (found.severity, found.key) == (Severity.warning, "token_issuers")
    issuers = "\ntoken_issuers = testvo=https://iam.example.org/"
    assert place.load(GOOD + "token_authType = scitokens" + issuers).findings == ()


@pytest.mark.parametrize("key", ["dbhost", "dbuser", "dbpasswd", "dbname"])
def test_a_database_server_needs_its_access_data(place: Place, key: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(key)]
    found = place.finding("\n".join(lines))
    assert (found.severity, found.key, found.message) == (Severity.error, key, "is needed for backend postgres")


def test_sqlite_needs_no_more_than_a_file(place: Place) -> None:
    config = place.load("backend = sqlite\ndbname = /var/panda.db")
    connection = connection_settings(config.server)
    assert config.findings == ()
    assert (connection.backend, connection.name, connection.host) == ("sqlite", "/var/panda.db", "")


def test_oracle_is_reached_by_its_alias(place: Place) -> None:
    server = place.load("backend = oracle\ndbhost = ALIAS\ndbuser = u\ndbpasswd = p\ndbname = ignored").server
    assert (connection_settings(server).name, connection_settings(server).host) == ("ALIAS", "")


def test_the_connection_knows_the_configured_schemas(place: Place) -> None:
    server = place.load(GOOD + "schemaPANDA = DOMA_PANDA\nschemaJEDI = DOMA_PANDA\nschemaMETA = DOMA_META").server
    assert connection_settings(server).schemas == {
        "ATLAS_PANDA": "DOMA_PANDA",
        "ATLAS_PANDAARCH": "ATLAS_PANDAARCH",
        "ATLAS_PANDAMETA": "DOMA_META",
        "ATLAS_DEFT": "ATLAS_DEFT",
    }


def test_operations_learn_who_they_work_for(place: Place) -> None:
    text = (
        GOOD + "pserverhost = me.example.org\nmain_vo = testvo\nmq_configFile = /mq.json\nrecord_statuschange = False"
    )
    operations = operation_settings(place.load(text).server)
    assert (operations.hostname, operations.main_vo) == ("me.example.org", "testvo")
    assert (operations.push_messages, operations.record_statuschange) == (True, False)


def test_a_value_knows_where_it_came_from(place: Place) -> None:
    place.environ["PORT"] = "1234"
    config = place.load(GOOD + "pserverport = $PORT")
    file = place.directory / "panda_server.cfg"
    assert config.sources["server", "dbhost"] == f"{file}:3"
    assert config.sources["server", "pserverport"] == f"$PORT in {file}:7"
    assert ("server", "cache_dir") not in config.sources


MAPS: list[tuple[str, Any]] = [
    ("etc/config_json/panda_server_config.json", "25444"),
    ("etc/configmap/panda_server_configmap.json", 25444),
]


@pytest.mark.parametrize(("name", "value"), MAPS)
def test_the_json_map_overrides_with_texts_or_json_values(place: Place, name: str, value: object) -> None:
    place.environ["PANDA_HOME"] = str(place.directory)
    (place.directory / name).parent.mkdir(parents=True)
    (place.directory / name).write_text(json.dumps({"server": {"pserverport": value, "dump_sql": True}}))
    config = place.load()
    assert (config.server.pserverport, config.server.dump_sql) == (25444, True)
    assert config.sources["server", "pserverport"] == f"{place.directory / name}:1"


def test_of_two_json_maps_the_newer_name_counts(place: Place) -> None:
    place.environ["PANDA_HOME"] = str(place.directory)
    for number, (name, _) in enumerate(MAPS, start=1):
        (place.directory / name).parent.mkdir(parents=True)
        (place.directory / name).write_text(json.dumps({"server": {"pserverport": number}}))
    config = place.load()
    assert config.server.pserverport == 1
    assert [(f.severity, f.file) for f in config.findings] == [(Severity.warning, str(place.directory / MAPS[1][0]))]


def test_logger_settings_are_taken_as_they_stand(place: Place) -> None:
    place.environ["DIR"] = "/elsewhere"
    logger = place.load(common="[logger]\nlogdir = $DIR\nloghost = h\nmonport-apache = 81\n").logger
    assert logger.logdir == Path("$DIR")
    assert [(c.host, c.port, c.method, c.encoding) for c in logger.collectors] == [("h", 81, "GET", "url")]


def test_single_loggers_have_levels(place: Place) -> None:
    assert place.load(common="[log_level]\nDBProxy = DEBUG\n").logger.levels == {"DBProxy": "DEBUG"}


def test_a_level_that_is_none_is_an_error(place: Place) -> None:
    found = place.finding(common="[logger]\n[log_level]\nDBProxy = DEBUGG\n")
    assert (found.section, found.key, found.line, found.suggestion) == (
        "log_level",
        "DBProxy",
        3,
        "did you mean DEBUG?",
    )


def test_plugins_are_read_into_entries(place: Place) -> None:
    text = GOOD + "adder_plugins = a|b:m.x:C:g,\n  any:dataservice.AdderDummyPlugin:AdderDummyPlugin"
    assert place.load(text).server.adder_plugins == (
        PluginEntry("a", "m.x", "C", "g"),
        PluginEntry("b", "m.x", "C", "g"),
        PluginEntry("any", "pandaserver.dataservice.AdderSimplePlugin", "AdderSimplePlugin"),
    )


def test_no_file_at_all_is_an_error_that_tells_where_it_was_looked_for(tmp_path: Path) -> None:
    (found,) = load({}, [tmp_path]).findings
    assert (found.severity, found.suggestion) == (Severity.error, f"looked in {tmp_path}")


def test_ten_mistakes_are_ten_findings(place: Place) -> None:
    config = place.load(
        "backend = postgre\ndbhost = h\ndbuser = u\ndbpaswd = p\ndbpasswd = FIXME\ndbname = n\n"
        "dbport = many\nusedbtimeout = yes\ndbhost = h2\nmain_vo = 5%\nadder_plugins = atlas\nwhat is this\n",
        "[dameon]\nenable = True\n",
        "[logger]\nlog_level = LOUD\n",
    )
    keys = [(finding.section, finding.key) for finding in config.findings]
    assert sorted(keys) == [
        ("dameon", ""),
        ("logger", "log_level"),
        ("server", ""),
        ("server", "adder_plugins"),
        ("server", "backend"),
        ("server", "dbhost"),
        ("server", "dbpasswd"),
        ("server", "dbpaswd"),
        ("server", "dbport"),
        ("server", "main_vo"),
        ("server", "usedbtimeout"),
    ]


def test_a_program_is_refused_only_for_errors_of_its_sections(place: Place) -> None:
    config = place.load(rest="[daemon]\nn_proc = 0\n")
    config.require("server", "logger")
    with pytest.raises(ConfigurationError, match="n_proc: 0 is too small"):
        config.require("server", "daemon")


def test_a_broken_json_map_refuses_every_program(place: Place) -> None:
    place.environ["PANDA_HOME"] = str(place.directory)
    (place.directory / MAPS[0][0]).parent.mkdir(parents=True)
    (place.directory / MAPS[0][0]).write_text("{")
    with pytest.raises(ConfigurationError, match="is not valid JSON"):
        place.load().require("logger")


def test_a_misspelt_backend_is_missed(tmp_path: Path) -> None:
    (tmp_path / "panda_server.cfg").write_text("[server]\nbacknd = sqlite\ndbname = /tmp/x\n")
    findings = load({}, [tmp_path]).findings
    assert any(f.key == "dbhost" and f.severity is Severity.error for f in findings)
    assert any("did you mean backend?" in str(f) for f in findings)
