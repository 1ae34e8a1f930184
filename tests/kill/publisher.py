"""Publish a decision in a process of its own that dies by SIGKILL at its n-th write.

As ``harness.py`` does for commands: reads orders from its standard input (``root``, ``log``,
``kill_at``, ``decision``, ``environment``), forks for each, and answers with the status.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tasks.context import open_loop
from tasks.operate.publish import publish
from tests.kill import harness


def obey(order: dict[str, Any]) -> int:
    """Publish, watched; the status it ended with, negative for a signal."""
    child = os.fork()
    if child == 0:
        harness._order.update(order)
        os.environ.update(order["environment"])
        publish(open_loop(order["root"]), order["decision"])
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)


if __name__ == "__main__":
    for watch in (harness.watch_sql, harness.watch_files, harness.watch_http):
        watch()
    print("ready", flush=True)
    for line in sys.stdin:
        print(obey(json.loads(line)), flush=True)
