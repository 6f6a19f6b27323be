"""An Adder in a process of its own, as a daemon worker runs it, until somebody kills it."""

from __future__ import annotations

import os
import pickle
import sys
from time import sleep

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderSimplePlugin import AdderSimplePlugin
from pandaserver.taskbuffer.connection_settings import OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Seconds after which another Adder takes what a killed one held.
LEASE = 0.3


def main() -> None:
    """Read the connection from standard input, tell when it works, and settle reports."""
    task_buffer = TaskBuffer(LocalBridge(pickle.load(sys.stdin.buffer), OperationSettings()))
    sites = SiteMapper(SiteRows, SiteSpec("default"))
    adder = Adder(task_buffer, sites, lambda _vo: AdderSimplePlugin, f"adder-{os.getpid()}", lease=LEASE)
    adder.run(limit=1, grace=0.0)
    print("ready", flush=True)
    while True:
        if not adder.run(limit=5, grace=0.0):
            sleep(0.002)


if __name__ == "__main__":
    main()
