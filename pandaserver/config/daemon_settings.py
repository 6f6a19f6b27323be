"""Every setting of the daemon once: section ``[daemon]`` of ``panda_server.cfg``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pandaserver.config.shipped_daemons import sample_config
from pandaserver.config.values import DaemonSpec, setting


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """Section ``[daemon]`` of ``panda_server.cfg``."""

    SECTION: ClassVar[str] = "daemon"
    FILE: ClassVar[str] = "panda_server.cfg"

    enable: bool = setting(False, "Run the daemon.", sample="False")
    uname: str = setting("nobody", "Account that the daemon runs as.", sample="atlpan")
    gname: str = setting("nobody", "Group that the daemon runs as.", sample="zp")
    package: str = setting(
        "",
        "Package of the modules named in config; needed when the daemon is enabled.",
        sample="pandaserver.daemons.scripts",
    )
    n_proc: int = setting(1, "Workers, and so scripts that run at the same time.", sample="4", at_least=1)
    proc_lifetime: int = setting(
        28800, "Age at which a worker is replaced, between two scripts.", unit="s", sample="14400", at_least=1
    )
    max_worker_memory: int = setting(
        0,
        "Memory above which a worker is replaced, between two scripts; 0 means any.",
        unit="MB",
        at_least=0,
    )
    stop_timeout: int = setting(
        30, "How long running scripts may take to end when the daemon is stopped.", unit="s", at_least=0
    )
    umask: int = setting(0o022, "Permissions that new files do not get, in octal.", default_text="022", octal=True)
    daemons: tuple[DaemonSpec, ...] = setting(
        (),
        "JSON map of the name of each daemon to its attributes; needed when the daemon is enabled.",
        key="config",
        sample=sample_config(),
        default_text="none",
    )
