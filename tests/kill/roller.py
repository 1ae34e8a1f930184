"""A rollout's day, or a rollback by hand, in a process of its own that dies by SIGKILL at its n-th
write.

As ``publisher.py``; an order names what is done (``act``: "day" or "hand") and the ``day``. The act
"warm" does a day here, so that each run after it costs what it writes: what libraries build when
first used is there, and so is the judgement, which writes nothing and is the same in every run.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from tasks import context
from tasks.context import Loop, open_loop
from tasks.decision import rollout
from tasks.decision.rollout import look_once, settle_once
from tasks.open_work import review_waiting_once, unpublished_once
from tasks.operate.budget_acts import roll_back
from tasks.operate.platform_sync import apply_in_force
from tasks.operate.publish import export
from tasks.report.notify import announce_once, write_page_once
from tests.kill import harness


def a_day(root: str, day: date) -> None:
    """What the flow ``rollout`` does on a day, by its own steps and in its order, without Prefect;
    it ends with what it told."""
    loop = open_loop(root)
    for begun in unpublished_once(loop):
        export(loop, begun)
        tell(loop, begun)
    review_waiting_once(loop, day)
    decision = settle_once(loop, day, None)
    if decision["id"] is None:
        decision = look_once(loop, day) or decision
    if decision["state"] == "in_force":
        export(loop, decision["id"])
    assert apply_in_force(loop) == ()
    if decision["id"]:
        tell(loop, decision["id"])


def tell(loop: Loop, decision_id: str) -> None:
    announce_once(loop, decision_id, write_page_once(loop, decision_id))


def by_hand(root: str, _: date) -> None:
    """``liftloop rollback``."""
    roll_back(root, to=None, reason="stock ran out", actor="ana")


def asked_of(inputs: Any, *, proposal: Any, running: Any, **_: Any) -> tuple[Any, ...]:
    """What a decision depends on in these runs, where a day has one state of facts."""
    plan = proposal.policy.version if proposal else None
    return inputs.as_of, plan, repr(running), inputs.in_force.version, inputs.holds.frozen


def held_of(_: Loop, day: date, policy: Any, *, source: str) -> tuple[Any, ...]:
    """What may not move depends on."""
    return day, policy.version, source


judged: dict[Any, Any] = {}
ACTS = {"day": a_day, "hand": by_hand}


def warm(root: str, day: date) -> None:
    """A day in this process, and the same once more. Delta Lake's threads would not outlive a fork:
    a process of its own does it first and hands over the facts it has read."""
    facts = Path(f"{root}.facts")
    if os.fork() == 0:
        read: dict[Any, Any] = {}
        for name in READERS:
            remember(context, name, read, lambda *args: args[1:])
        copy = shutil.copytree(root, f"{root}.first")
        twice(str(copy), day)
        facts.write_bytes(pickle.dumps(read))
        os._exit(0)
    os.wait()
    read = pickle.loads(facts.read_bytes())
    real = {name: getattr(context, name) for name in READERS}
    for name in READERS:
        remember(context, name, read, lambda *args: args[1:])
    twice(root, day)
    for name in READERS:
        setattr(context, name, real[name])
    gc.freeze()


READERS = ("facts_version", "_known")  # each takes the workspace first, whose place does not matter


def twice(root: str, day: date) -> None:
    a_day(root, day)
    a_day(root, day)


def remember(owner: Any, name: str, known: dict[Any, Any], told: Callable[..., Any]) -> None:
    """Make ``owner.name`` answer from ``known`` what it was asked before, by what ``told`` keeps of
    the question."""
    real = getattr(owner, name)

    def asked(*args: Any, **named: Any) -> Any:
        question = (name, *told(*args, **named))
        if question not in known:
            known[question] = real(*args, **named)
        return known[question]

    setattr(owner, name, asked)


def obey(order: dict[str, Any]) -> int:
    """Do it, watched; the status it ended with, negative for a signal."""
    if order["act"] == "warm":
        os.environ.update(order["environment"])
        if not judged:
            remember(rollout, "decide", judged, asked_of)
            remember(rollout, "holds_on", judged, held_of)
        warm(order["root"], date.fromisoformat(order["day"]))
        return 0
    child = os.fork()
    if child == 0:
        gc.disable()  # it would touch, and so copy, the memory that is shared
        harness._order.update(order)
        os.environ.update(order["environment"])
        ACTS[order["act"]](order["root"], date.fromisoformat(order["day"]))
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)


if __name__ == "__main__":
    for watch in (harness.watch_sql, harness.watch_files, harness.watch_http):
        watch()
    print("ready", flush=True)
    for line in sys.stdin:
        print(obey(json.loads(line)), flush=True)
