"""Whether this machine runs the daemon, for init scripts and systemd, which run this module.

Exit code 3, with a sentence, if it is switched off. A configuration that cannot be read is left to the daemon, which
says what is wrong with it.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import load

#: Not 1, which is the exit code of a Python that fails.
DISABLED: Final = 3


def main() -> int:
    """Return 0 unless the configuration is sound and says no."""
    try:
        config = load(os.environ)
        config.require("daemon")
    except (ConfigurationError, OSError):
        return 0
    if config.daemon.enable:
        return 0
    print("The daemon is disabled: enable is not True in [daemon] of panda_server.cfg. Nothing is done.")
    return DISABLED


if __name__ == "__main__":
    sys.exit(main())
