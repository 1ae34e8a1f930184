"""What `liftloop doctor` looks at: the installation, the workspace, and the services outside.

A check never raises: what it cannot look at is a finding, too. Findings come in the order in which
one would mend them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from liftloop.adapters.account_checks import doctor_on_account, refuse_renamed_money
from liftloop.adapters.audit import verify
from liftloop.adapters.deliveries import account_of
from liftloop.adapters.engine import ledger_address
from liftloop.adapters.facts import read_facts
from liftloop.adapters.ledger import is_current, last_training, open_ledger, session, trainings
from liftloop.adapters.name_checks import doctor_on_names
from liftloop.adapters.notify import check_webhook
from liftloop.adapters.platforms.standing import standings
from liftloop.adapters.settings import Settings, load_settings
from liftloop.adapters.streams.health import look
from liftloop.adapters.unfinished import leftovers
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import LiftLoopError
from liftloop.core.feeds.doubled import FIGURES, doubled_segments
from liftloop.core.feeds.identity import IDS
from liftloop.core.outcome_guardrails import judge_outcomes
from liftloop.reporting.outcome_guardrails import outcome_sentence

PINS = {
    "fastapi": (">=0.139,<0.151", "with a newer one no flow runs (unexpected argument min_items)"),
    "sqlalchemy": (">=2.0.50,<2.1", "with 2.1 scheduled flows silently never start"),
    "pandas": (">=3.0.3,<3.1", "with 3.1 Evidently cannot be imported (infer_dtype_from_object)"),
}
PYTHON = SpecifierSet(">=3.11,<3.12")
SYNC = "run: uv sync"
LOW_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``ok``: True, False (mend it, as ``fix`` says), or None (worth knowing)."""

    check: str
    ok: bool | None
    detail: str
    fix: str = ""


Look = Callable[[], Iterator[Finding]]


def diagnose(workspace: Workspace | None) -> list[Finding]:
    """All findings; without a workspace, those on the installation and the services."""
    findings = _guarded("installation", _installation)
    if workspace is not None:
        findings += _guarded("workspace", lambda: _folder(workspace))
        settings = _settings(workspace, findings)
        if settings is not None:
            findings += _guarded("ledger", lambda: _ledger(settings))
            findings += _guarded("unfinished work", lambda: _unfinished(workspace, settings))
            findings += _guarded("webhook", lambda: _webhook(settings))
            findings += _guarded("platforms", lambda: _platforms(settings))
            findings += _guarded(
                "streams", lambda: (Finding(*f) for f in look(workspace, settings))
            )
        findings += _guarded("facts", lambda: _facts(workspace))
        if settings is not None:
            findings += _guarded("account", lambda: _account(workspace, settings))
            findings += _guarded("segments", lambda: _segments(workspace, settings))
            findings += _guarded("guarded outcomes", lambda: _outcomes(settings))
        findings += _guarded(
            "names", lambda: (Finding("names", *found) for found in doctor_on_names(workspace))
        )
        findings += _guarded("model registry", lambda: _registry(workspace, settings))
    return findings + _guarded("Prefect", _prefect)


def _guarded(check: str, look: Look) -> list[Finding]:
    """What ``look`` finds; a failure of the check itself becomes a finding."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except LiftLoopError as error:
        fix = getattr(error, "fix", "")
        detail = str(error).removesuffix(f"Fix: {fix}").strip()
        found.append(Finding(check, False, detail, fix))
    except Exception as error:
        words = (str(error).strip().splitlines() or [""])[0]
        detail = f"the check failed: {type(error).__name__}: {words}"
        found.append(Finding(check, False, detail, "mend what it names, then run doctor again"))
    return found


def _installation() -> Iterator[Finding]:
    version = platform.python_version()
    fine = PYTHON.contains(version)
    fix = "" if fine else "use Python 3.11: uv sync fetches it where it is missing"
    yield Finding("Python", fine, f"{version} at {sys.executable}", fix)
    for name, (allowed, symptom) in PINS.items():
        found = _installed(name)
        if found is None:
            yield Finding(name, False, "not installed", SYNC)
        elif SpecifierSet(allowed).contains(found):
            yield Finding(name, True, f"{found} ({allowed})")
        else:
            yield Finding(name, False, f"{found} is outside {allowed}: {symptom}", SYNC)
    wrong = [words for words in map(_wrong, _requirements()) if words]
    if wrong:
        yield Finding("other packages", False, "; ".join(wrong), SYNC)
    else:
        yield Finding("other packages", True, "all there, in the versions LiftLoop was built on")


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(text) for text in metadata.requires("liftloop") or []]
    except metadata.PackageNotFoundError:
        return []


def _wrong(wanted: Requirement) -> str:
    found = _installed(wanted.name)
    if wanted.name in PINS or (wanted.marker and not wanted.marker.evaluate()):
        return ""
    if found is None:
        return f"{wanted.name} is missing"
    return "" if wanted.specifier.contains(found) else f"{wanted.name} {found} is not {wanted}"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _folder(workspace: Workspace) -> Iterator[Finding]:
    init = f"run: liftloop init --workspace {workspace.root}"
    if not workspace.root.is_dir():
        yield Finding("workspace", False, f"{workspace.root} does not exist", init)
        return
    places = (workspace.root, *workspace.folders)
    missing = [place.name for place in places if not place.is_dir()]
    locked = [place.name for place in places if place.is_dir() and not _writable(place)]
    if missing:
        yield Finding("workspace", False, f"lacks {', '.join(missing)}", init)
    elif locked:
        fix = "give this user the right to write there"
        yield Finding("workspace", False, f"may not write in {', '.join(locked)}", fix)
    else:
        yield Finding("workspace", True, f"{workspace.root} is complete and may be written")
    free = shutil.disk_usage(workspace.root).free
    roomy = free >= LOW_DISK_BYTES
    fix = "" if roomy else "free some space before the next cycle"
    yield Finding("disk", roomy, f"{free / 1024**3:.1f} GB free", fix)


def _writable(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK)


def _settings(workspace: Workspace, findings: list[Finding]) -> Settings | None:
    read: list[Settings] = []

    def look() -> Iterator[Finding]:
        read.append(load_settings(workspace))
        yield Finding("configuration", True, f"{workspace.config.name} is understood")
        old = read[0].rollout.superseded
        if old:
            yield Finding(
                "configuration",
                None,
                f"{len(old)} old settings are set: {' '.join(old)}",
                fix="take these lines out; docs/rollouts.md says what there is instead.",
            )

    findings += _guarded("configuration", look)
    return read[0] if read else None


def _ledger(settings: Settings) -> Iterator[Finding]:
    url = str(settings.ledger_url)
    address = ledger_address(url)
    shown = address.render_as_string(hide_password=True)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).is_file():
        yield Finding("ledger", False, f"{shown} does not exist", "run liftloop init")
        return
    engine = open_ledger(url)
    if not is_current(engine):
        yield Finding("ledger", False, f"{shown} is not at this version", "run liftloop init")
        return
    yield Finding("ledger", True, f"{shown} answers and is at this version")
    with session(engine, read_only=True) as opened:
        verdict = verify(opened)
    if verdict.intact:
        tail = verdict.final_hash[:12]
        entries = "1 entry" if verdict.entries == 1 else f"{verdict.entries:,} entries"
        words = f"{entries}, unbroken, final hash {tail}..."
        yield Finding("audit trail", True, words)
    else:
        fix = "find out who changed it (liftloop audit); compare with an earlier export"
        yield Finding("audit trail", False, verdict.problem, fix)


def _unfinished(workspace: Workspace, settings: Settings) -> Iterator[Finding]:
    engine = open_ledger(str(settings.ledger_url))
    if not is_current(engine):
        return
    found = leftovers(workspace, engine=engine, secret_block=settings.notify.secret_block)
    for words, fix in found:
        yield Finding("unfinished work", None, words, fix)
    if not found:
        yield Finding("unfinished work", True, "none")


def _platforms(settings: Settings) -> Iterator[Finding]:
    """From the ledger: no platform is asked."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        for ok, words, fix in standings(settings.platforms, engine=engine):
            yield Finding("platforms", ok, words, fix)


def _facts(workspace: Workspace) -> Iterator[Finding]:
    from deltalake import DeltaTable

    if not workspace.facts.is_dir():
        return
    opened = []
    for log in sorted(workspace.facts.glob("*/*/_delta_log")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        try:
            opened.append(f"{name} at version {DeltaTable(str(log.parent)).version()}")
        except Exception as error:
            words = str(error).splitlines()[0] if str(error) else type(error).__name__
            fix = "restore that folder from a backup, or deliver its files again"
            yield Finding("facts", False, f"{name} cannot be opened: {words}", fix)
    if opened:
        yield Finding("facts", True, "; ".join(opened))
    elif not any(workspace.facts.iterdir()):
        yield Finding("facts", None, "none yet", "run liftloop ingest with your feed files")


def _account(workspace: Workspace, settings: Settings) -> Iterator[Finding]:
    """Whether stored money is in the currency that the account has now (raises where it is not),
    and is converted and dated as the account would have it now."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        account = account_of(settings.account)
        refuse_renamed_money(workspace, engine=engine, account=account, actor=None)
        for check, detail, fix in doctor_on_account(workspace, engine, account):
            yield Finding(check, None, detail, fix)


def _segments(workspace: Workspace, settings: Settings) -> Iterator[Finding]:
    """Segments of which two tell the same facts: money that is counted twice."""
    names = [
        "date", "segment", "channel", *IDS, *(i for i in IDS.values()), *FIGURES,
    ]  # fmt: skip
    facts = read_facts(workspace, "performance", as_of=None, timezone=settings.account.timezone)
    facts = facts[[name for name in dict.fromkeys(names) if name in facts]]
    for pair in doubled_segments(facts):
        one, other = sorted(pair.segments, key=lambda name: name == "all")
        yield Finding(
            "segments",
            False,
            f"{one} and {other} have the same facts of {pair.channel} on {pair.days} days "
            f"({pair.first} to {pair.last}): {pair.spend:,.2f} {settings.account.currency} "
            "are counted twice",
            "deliver the file again under the segment that is right: liftloop ingest FILE "
            f"--segment {shlex.quote(one)} --replace",
        )


def _outcomes(settings: Settings) -> Iterator[Finding]:
    """What user-level tests did to guarded outcomes, by the last training on them."""
    engine = open_ledger(str(settings.ledger_url))
    rules = settings.guardrails.outcome_rules
    if not rules or not is_current(engine):
        return
    with session(engine, read_only=True) as db:
        last = last_training(db, model_name="uplift", as_of=date.max)
    tests = json.loads(last.examination).get("user_tests", []) if last else []
    if not tests:
        words = "no user-level test has been learned from: guarded outcomes are not judged"
        yield Finding("guarded outcomes", None, words)
    for verdict in judge_outcomes(rules, tests):
        fix = "change what is sent and test again; until then its cells get no raise"
        words = outcome_sentence(verdict).removesuffix(".")
        if verdict.is_harmful:
            yield Finding("guarded outcomes", False, words, fix)
        else:
            unsure = verdict.could_hide_harm or not verdict.is_measured
            yield Finding("guarded outcomes", None if unsure else True, words)


def _registry(workspace: Workspace, settings: Settings | None) -> Iterator[Finding]:
    if not (workspace.registry / "mlflow.db").is_file():
        if settings is None or not _any_training(settings):
            yield Finding("model registry", None, "none yet", "the first training makes it")
            return
        fix = "restore the folder registry from a backup; the next training makes a new one"
        yield Finding("model registry", False, "it has no database, yet models were trained", fix)
        return
    from liftloop.adapters.mlflow_store import champion_version, check_database, tracking_uri

    check_database(workspace)
    yield Finding("model registry", True, tracking_uri(workspace))
    named = {name: champion_version(workspace, name=name) for name in ("response", "uplift")}
    versions = [f"{name} version {version}" for name, version in named.items() if version]
    if versions:
        yield Finding("champion", True, ", ".join(versions))
    else:
        fix = "the first liftloop cycle with holdout or units facts makes one"
        yield Finding("champion", None, "none yet", fix)


def _any_training(settings: Settings) -> bool:
    with session(open_ledger(str(settings.ledger_url)), read_only=True) as db:
        return bool(trainings(db, limit=1))


def _prefect() -> Iterator[Finding]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        yield Finding("Prefect", True, "no server set: flows run with a temporary one")
        return
    shown = re.sub(r"//[^/@]*@", "//", url)
    fix = "start it (liftloop up, or prefect server start), or unset PREFECT_API_URL"
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as answer:
            fine = answer.status == 200
        yield Finding("Prefect", fine, f"{shown} answers", "" if fine else fix)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        yield Finding("Prefect", False, f"{shown} does not answer: {reason}", fix)


def _webhook(settings: Settings) -> Iterator[Finding]:
    """Looks its host up only: a test message would ping people."""
    if settings.notify.secret_block:
        name = settings.notify.secret_block
        yield Finding("webhook", True, f"kept in the Prefect Secret block {name}; not looked at")
        return
    if not settings.notify.slack_webhook:
        yield Finding("webhook", True, "none set: messages stay in outbox/messages")
        return
    host = check_webhook(settings.notify.slack_webhook)
    try:
        socket.getaddrinfo(host, None)
        yield Finding("webhook", True, f"{host} is a known host; nothing was sent")
    except OSError:
        fix = "check notify.slack_webhook and the network; messages wait meanwhile"
        yield Finding("webhook", False, f"{host} cannot be found", fix)
