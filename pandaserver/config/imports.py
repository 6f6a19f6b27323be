"""What a configuration names and Python cannot import. Finding out runs foreign code, so ``load`` does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from pandaserver.config.finding import ConfigurationError, Finding, Severity
from pandaserver.config.panda_config import PandaConfig
from pandaserver.config.plugins import plugin_class


def unusable_plugins(config: PandaConfig) -> Iterator[Finding]:
    """Import every plug-in, and return an error for each that fails."""
    for key in (
        "setupper_plugins",
        "adder_plugins",
        "event_picker_plugins",
        "file_recovery_plugins",
        "workflow_plugins",
    ):
        for entry in getattr(config.server, key):
            try:
                plugin_class(entry)
            except ConfigurationError as error:
                yield _finding(config, Severity.error, "server", key, error.message)


def missing_modules(config: PandaConfig) -> Iterator[Finding]:
    """Look for the module of every daemon, and return a warning for each that is not there; the others still run."""
    for spec in config.daemon.daemons:
        if not _exists(spec.module):
            message = f"{spec.name}: there is no module {spec.module}"
            yield _finding(config, Severity.warning, "daemon", "config", message)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is missing, or the name is none
        return False


def _finding(config: PandaConfig, severity: Severity, section: str, key: str, message: str) -> Finding:
    file, _, line = config.sources.get((section, key), "").rpartition(":")
    return Finding(severity, file, int(line or 0), section, key, message)
