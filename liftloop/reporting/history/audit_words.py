"""The audit trail as a person reads it: when, who, what, about what, and the reason in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from liftloop.core.money.currencies import amount_words
from liftloop.reporting.budget_terms import terms_in_words

COLUMNS = ("no", "when", "who", "what", "about", "in words")
LONGEST = 240  # characters of a reason that the table shows; --json and --export have all
Payload = Mapping[str, Any]

ACTS = {
    "account": "account changed",
    "add_account": "sign-in added",
    "adopt": "rollout taken over",
    "apply": "budgets read back",
    "approve": "approved",
    "begin_forget": "removal begun",
    "begin_retain": "removal begun",
    "changed_outside": "changed elsewhere",
    "close_account": "sign-in closed",
    "crown": "model put in force",
    "decay": "model predicts worse",
    "decline": "model not taken",
    "demote": "model taken back",
    "differs": "platform differs",
    "discard": "rows discarded",
    "end_experiment": "experiment over",
    "forget": "person removed",
    "forget_predictions": "predictions removed",
    "give_token": "token given",
    "hold": "decided: keep",
    "join_names": "names joined",
    "lock_account": "sign-in locked",
    "monitor": "data looked at",
    "move": "decided: move",
    "no_spend": "days without spend",
    "note": "note written",
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
    "relearn": "model learned again",
    "review_test": "test read",
    "change_test": "test changed",
    "end_test": "test over",
    "repair": "facts built again",
    "resume": "resumed",
    "retain": "old rows removed",
    "roll_back": "rolled back",
    "roll_back_model": "model rolled back",
    "set": "budgets set",
    "set_aside": "exports set aside",
    "set_password": "password set",
    "settings": "settings noted",
    "standing holdout": "holdout drawn",
    "start_experiment": "experiment planned",
    "start_test": "test planned",
    "step": "rollout step",
    "stop_experiment": "experiment stopped",
    "stop_test": "test stopped",
    "train": "model trained",
    "withdraw_total": "total withdrawn",
    "worth": "gain counted",
}
SUBJECTS = {
    "d-": "decision",
    "m-": "look",
    "n-": "note",
    "p-": "budgets",
    "r-": "rollout",
    "s-": "settings",
    "t-": "training",
    "u-": "person",
    "x-": "plan",
}


def audit_row(entry: Mapping[str, Any], *, timezone: str) -> tuple[Any, ...]:
    """An entry (a value of :func:`views.audit`) as a row of ``COLUMNS``; the instant is in the
    account's time zone."""
    payload = payload_of(str(entry["payload"]))
    at = datetime.fromisoformat(str(entry["at"])).astimezone(ZoneInfo(timezone))
    act = str(entry["act"])
    return (
        entry["sequence"],
        f"{at:%Y-%m-%d %H:%M}",
        entry["actor"],
        act_in_words(act),
        about(str(entry["subject"]), payload),
        clipped(in_words(act, payload)),
    )


def act_in_words(act: str) -> str:
    """What happened, in two or three words."""
    return ACTS.get(act, act.replace("_", " "))


def payload_of(text: str) -> Payload:
    """What an entry says; an entry that someone edited need not be JSON any more."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}


def about(subject: str, payload: Payload) -> str:
    """What an entry is about, for a person."""
    if "filename" in payload:
        return str(payload["filename"])
    if "until" in payload and subject == str(payload["until"]):
        return f"until {subject}"
    if subject.startswith("m-") and "as_of" in payload:
        return f"facts before {payload['as_of']}"
    if "took" in payload:
        return f"rollout {payload['rollout']}"
    if "pause" in payload and " x " in subject:
        segment, channel = subject.split(" x ", 1)
        return f"{_any(segment, 'segments')} x {_any(channel, 'channels')}"
    kind = SUBJECTS.get(subject[:2])
    return f"{kind} {subject}" if kind else subject


def _any(name: str, plural: str) -> str:
    return f"all {plural}" if name == "*" else name


def in_words(act: str, payload: Payload) -> str:
    """What an entry says, for a person: its reason, or else its plain values."""
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
    terms = terms_in_words(payload.get("terms", {}))
    words = str(payload.get("reason") or "Its budgets go out.")
    return f"{words} From then on: {terms}." if terms else words


def _resumed(payload: Payload) -> str:
    return str(payload.get("reason") or "Budgets move again from the next cycle on.")


def _drawn(payload: Payload) -> str:
    names = ", ".join(payload["segments"]) or "no segment"
    return (
        f"Keeps its budgets from {payload['start']} on, as the holdout to measure against: {names}."
    )


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


def _forgotten(payload: Payload) -> str:
    found = ", ".join(f"{name} {count:,}" for name, count in payload["removed"].items())
    why = f" ({payload['reason']})" if payload.get("reason") else ""
    return f"Removed{why}: {found or 'nothing was found'}."


def _planned(payload: Payload) -> str:
    change = float(payload["change"])
    far = "off" if change <= -1 else f"{change:+.0%}"
    where = ", ".join(payload["segments"])
    return (
        f"{payload['channel']} {far} in {where} from {payload['start']} to {payload['end']} "
        f"({payload['design']}, seed {payload['seed']})."
    )


def _joined(payload: Payload) -> str:
    return f"The {payload['kind']} {payload['name']} is read as {payload['is']}."


def _test_planned(payload: Payload) -> str:
    variants, segments = " against ".join(payload["variants"]), ", ".join(payload["segments"])
    return (
        f"{variants} in {payload['channel']}, {segments}, {payload['start']} to {payload['last']}: "
        f"{payload['hypothesis']}"
    )


def _test_changed(payload: Payload) -> str:
    return f"{payload['variant']} {'leaves' if payload['gone'] else 'joins'}."


def _experiment_over(payload: Payload) -> str:
    return str(payload.get("sentence") or payload["reason"])


WORDS: Mapping[str, Callable[[Payload], str]] = {
    "apply": _applied,
    "approve": _approved,
    "changed_outside": _differs,
    "differs": _differs,
    "discard": _discarded,
    "change_test": _test_changed,
    "end_experiment": _experiment_over,
    "end_test": _experiment_over,
    "review_test": _experiment_over,
    "stop_test": _experiment_over,
    "start_test": _test_planned,
    "forget": _forgotten,
    "retain": _forgotten,
    "join_names": _joined,
    "publish": _published,
    "receive": _received,
    "resume": _resumed,
    "settings": _settings,
    "start_experiment": _planned,
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
