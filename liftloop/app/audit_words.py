"""The audit trail as a person reads it: when, who, what, about what, and the reason in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from liftloop.core.currencies import amount_words

COLUMNS = ("no", "when", "who", "what", "about", "in words")
LONGEST = 240  # characters of a reason that the table shows; --json and --export have all
Payload = Mapping[str, Any]

ACTS = {
    "account": "account changed",
    "adopt": "rollout taken over",
    "apply": "budgets read back",
    "approve": "approved",
    "changed_outside": "changed elsewhere",
    "crown": "model put in force",
    "decay": "model foretells worse",
    "decline": "model not taken",
    "demote": "model taken back",
    "differs": "platform differs",
    "discard": "rows discarded",
    "hold": "decided: keep",
    "monitor": "data looked at",
    "move": "decided: move",
    "pause": "paused",
    "promote": "decided: promote",
    "propose": "plan proposed",
    "propose_total": "total proposed",
    "prove": "gain proven",
    "publish": "budgets written",
    "receive": "file taken in",
    "refuse": "file refused",
    "rejudge": "rows judged again",
    "reject": "rejected",
    "resume": "resumed",
    "roll_back": "rolled back",
    "roll_back_model": "model rolled back",
    "set": "budgets set",
    "settings": "settings noted",
    "standing holdout": "holdout drawn",
    "train": "model trained",
    "withdraw_total": "total withdrawn",
    "worth": "gain counted",
}
SUBJECTS = {
    "d-": "decision",
    "m-": "look",
    "p-": "budgets",
    "r-": "rollout",
    "s-": "settings",
    "t-": "training",
    "x-": "plan",
}


def audit_row(entry: Mapping[str, Any], *, timezone: str) -> tuple[Any, ...]:
    """An entry (a value of :func:`views.audit`) as a row of ``COLUMNS``; the instant is in the
    account's time zone."""
    payload = _payload(str(entry["payload"]))
    at = datetime.fromisoformat(str(entry["at"])).astimezone(ZoneInfo(timezone))
    act = str(entry["act"])
    return (
        entry["sequence"],
        f"{at:%Y-%m-%d %H:%M}",
        entry["actor"],
        ACTS.get(act, act.replace("_", " ")),
        _about(str(entry["subject"]), payload),
        clipped(_words(act, payload)),
    )


def _payload(text: str) -> Payload:
    """What an entry says; an entry that someone edited need not be JSON any more."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}


def _about(subject: str, payload: Payload) -> str:
    if "filename" in payload:
        return str(payload["filename"])
    if "until" in payload and subject == str(payload["until"]):
        return f"until {subject}"
    if subject.startswith("m-") and "as_of" in payload:
        return f"facts before {payload['as_of']}"
    if "pause" in payload and " x " in subject:
        segment, channel = subject.split(" x ", 1)
        return f"{_any(segment, 'segments')} x {_any(channel, 'channels')}"
    kind = SUBJECTS.get(subject[:2])
    return f"{kind} {subject}" if kind else subject


def _any(name: str, plural: str) -> str:
    return f"all {plural}" if name == "*" else name


def _words(act: str, payload: Payload) -> str:
    if act in WORDS:
        try:
            return WORDS[act](payload)
        except (AttributeError, KeyError, TypeError, ValueError):  # of an earlier version
            return _labelled(payload)
    for name in ("reason", "summary", "sentence", "why"):
        if payload.get(name):
            return str(payload[name])
    if "reason" in payload:
        return "No reason was given."
    return _labelled(payload)


def _received(payload: Payload) -> str:
    counts = (("stored", "stored"), ("superseded", "superseded"), ("quarantined", "in quarantine"))
    said = ", ".join(f"{int(payload[name]):,} {word}" for name, word in counts if payload[name])
    rows = _count(int(payload["received"]), "row")
    return f"{rows} of {payload['feed']}: {said}." if said else f"{rows} of {payload['feed']}."


def _published(payload: Payload) -> str:
    kinds = ", ".join(str(name).rsplit(".", 1)[-1] for name in payload["files"])
    return f"{_count(int(payload['lines']), 'budget')} written to the outbox ({kinds})."


def _settings(payload: Payload) -> str:
    total = payload.get("budget", {}).get("total")
    currency = payload.get("account", {}).get("currency", "")
    money = f" Total a day: {amount_words(float(total), currency)} {currency}." if total else ""
    return f"The settings that decide from here on.{money} All of them: liftloop audit --json."


def _trained(payload: Payload) -> str:
    why = f", for: {payload['reason']}" if payload.get("reason") else ""
    return f"{payload.get('model', 'model')} version {payload.get('version')}{why}."


def _approved(payload: Payload) -> str:
    return str(payload.get("reason") or "Its budgets go out.")


def _resumed(payload: Payload) -> str:
    return str(payload.get("reason") or "Budgets move again from the next cycle on.")


def _drawn(payload: Payload) -> str:
    names = ", ".join(payload["segments"]) or "no segment"
    return f"Stands still from {payload['start']} on, to measure against: {names}."


def _applied(payload: Payload) -> str:
    others = len(payload.get("others") or ())
    right = payload.get("confirmed")
    count = len(right) if isinstance(right, list | dict) else right
    return f"{payload['platform']}: {count} confirmed, {others} not yet."


def _differs(payload: Payload) -> str:
    cells = "; ".join(
        f"{cell} should be {expected}, is {found}"
        for cell, (expected, found) in payload["budgets"].items()
    )
    return f"{payload['platform']}: {cells}."


def _discarded(payload: Payload) -> str:
    why = f": {payload['reason']}" if payload.get("reason") else "."
    return f"{_count(len(payload['rows']), 'row')} closed for good, nothing of them stored{why}"


WORDS: Mapping[str, Callable[[Payload], str]] = {
    "apply": _applied,
    "approve": _approved,
    "changed_outside": _differs,
    "differs": _differs,
    "discard": _discarded,
    "publish": _published,
    "receive": _received,
    "resume": _resumed,
    "settings": _settings,
    "standing holdout": _drawn,
    "train": _trained,
}


def _labelled(payload: Payload) -> str:
    """What an unknown kind of entry says: the plain values, each with its name."""
    plain = {name: value for name, value in payload.items() if not isinstance(value, dict | list)}
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in plain.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clipped(text: str, longest: int = LONGEST) -> str:
    """``text`` on one line; where it is longer than ``longest`` characters, cut after a sentence
    in its second half, or else between words, and marked by dots."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    kept = line[: longest - 3]
    end = kept.rfind(". ") + 1
    return f"{kept[:end] if end > longest // 2 else kept.rsplit(' ', 1)[0]} ..."
