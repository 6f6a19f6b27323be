"""Whether this machine runs the daemon, for init scripts and systemd, which run this module.

Exit code 1, with a sentence, if it is switched off. A configuration that cannot be read is left to the daemon, which
says what is wrong with it.
"""

from __future__ import annotations

import os
import sys

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import load


def main() -> int:
    """Return 0 unless the configuration is sound and says no."""
    config = load(os.environ)
    try:
        config.require("daemon")
    except ConfigurationError:
        return 0
    if config.daemon.enable:
        return 0
    print("The daemon is disabled: enable is not True in [daemon] of panda_server.cfg. Nothing is done.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
