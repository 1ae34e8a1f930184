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
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from liftloop.adapters.audit.anchors import check
from liftloop.adapters.doctor.account_checks import doctor_on_account, refuse_renamed_money
from liftloop.adapters.doctor.channel_checks import doctor_on_channels
from liftloop.adapters.doctor.damage_checks import doctor_on_damage, refusals_to_come
from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.checks import refuse_another_ledger
from liftloop.adapters.facts.deliveries import account_of
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.unfinished import leftovers
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.engine import ledger_address
from liftloop.adapters.ledger.records import (
    is_current,
    last_training,
    open_ledger,
    session,
    trainings,
)
from liftloop.adapters.names.checks import doctor_on_names
from liftloop.adapters.platforms.standing import standings
from liftloop.adapters.streams.health import look
from liftloop.core.errors import ConfigurationError, LiftLoopError
from liftloop.core.feeds.deliveries.doubled import FIGURES, doubled_segments
from liftloop.core.feeds.identity import IDS
from liftloop.core.guardrails.outcomes import judge_outcomes
from liftloop.reporting.outcome_guardrails import outcome_sentence
from liftloop.settings.schema import Settings, load_settings
from liftloop.settings.workspace import Workspace

PINS = {
    "fastapi": (">=0.139,<0.151", "with a newer one no flow runs (unexpected argument min_items)"),
    "sqlalchemy": (">=2.0.50,<2.1", "with 2.1 scheduled flows silently never start"),
    "pandas": (">=3.0.3,<3.1", "with 3.1 Evidently cannot be imported (infer_dtype_from_object)"),
}
PYTHON = SpecifierSet(">=3.11,<3.14")
SYNC = "run: uv sync"
SHOWN = 5  # problems of the audit trail; liftloop audit has them all
LOW_DISK_BYTES = 2 * 1024**3


Look = Callable[[], Iterator[DoctorFinding]]


def diagnose(workspace: Workspace | None) -> list[DoctorFinding]:
    """All findings; without a workspace, those on the installation and the services."""
    findings = _guarded("installation", _installation)
    if workspace is not None:
        findings += _guarded("workspace", lambda: _folder(workspace))
        settings = _settings(workspace, findings)
        if settings is not None:
            findings += _guarded("ledger", lambda: _ledger(workspace, settings))
            findings += _guarded("unfinished work", lambda: _unfinished(workspace, settings))
            findings += _guarded("webhook", lambda: doctor_on_channels(settings))
            findings += _guarded("secrets", lambda: _secrets(workspace, settings))
            findings += _guarded("platforms", lambda: _platforms(settings))
            findings += _guarded(
                "streams", lambda: (DoctorFinding(*f) for f in look(workspace, settings))
            )
        findings += _guarded("facts", lambda: _facts(workspace))
        if settings is not None:
            findings += _guarded("damage", lambda: _damage(workspace, settings))
            findings += _guarded("inbox", lambda: _inbox(workspace, settings))
            findings += _guarded("account", lambda: _account(workspace, settings))
            findings += _guarded("segments", lambda: _segments(workspace, settings))
            findings += _guarded("guarded outcomes", lambda: _outcomes(settings))
        findings += _guarded(
            "names",
            lambda: (DoctorFinding("names", *found) for found in doctor_on_names(workspace)),
        )
        findings += _guarded("model registry", lambda: _registry(workspace, settings))
    return findings + _guarded("Prefect", _prefect)


def _guarded(check: str, look: Look) -> list[DoctorFinding]:
    """What ``look`` finds; a failure of the check itself becomes a finding."""
    found: list[DoctorFinding] = []
    try:
        found.extend(look())
    except LiftLoopError as error:
        fix = getattr(error, "fix", "")
        detail = str(error).removesuffix(f"Fix: {fix}").strip()
        found.append(DoctorFinding(check, False, detail, fix))
    except Exception as error:
        words = (str(error).strip().splitlines() or [""])[0]
        detail = f"the check failed: {type(error).__name__}: {words}"
        found.append(
            DoctorFinding(check, False, detail, "mend what it names, then run doctor again")
        )
    return found


def _installation() -> Iterator[DoctorFinding]:
    version = platform.python_version()
    fine = PYTHON.contains(version)
    fix = "" if fine else "use Python 3.11, 3.12 or 3.13: uv sync fetches one where none is there"
    yield DoctorFinding("Python", fine, f"{version} at {sys.executable}", fix)
    for name, (allowed, symptom) in PINS.items():
        found = _installed(name)
        if found is None:
            yield DoctorFinding(name, False, "not installed", SYNC)
        elif SpecifierSet(allowed).contains(found):
            yield DoctorFinding(name, True, f"{found} ({allowed})")
        else:
            yield DoctorFinding(name, False, f"{found} is outside {allowed}: {symptom}", SYNC)
    wrong = [words for words in map(_wrong, _requirements()) if words]
    if wrong:
        yield DoctorFinding("other packages", False, "; ".join(wrong), SYNC)
    else:
        yield DoctorFinding(
            "other packages", True, "all there, in the versions LiftLoop was built on"
        )


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


def _folder(workspace: Workspace) -> Iterator[DoctorFinding]:
    init = f"run: liftloop init --workspace {workspace.root}"
    if not workspace.root.is_dir():
        yield DoctorFinding("workspace", False, f"{workspace.root} does not exist", init)
        return
    places = (workspace.root, *workspace.folders)
    missing = [place.name for place in places if not place.is_dir()]
    locked = [place.name for place in places if place.is_dir() and not _writable(place)]
    if missing:
        yield DoctorFinding("workspace", False, f"lacks {', '.join(missing)}", init)
    elif locked:
        fix = "give this user the right to write there"
        yield DoctorFinding("workspace", False, f"may not write in {', '.join(locked)}", fix)
    else:
        yield DoctorFinding("workspace", True, f"{workspace.root} is complete and may be written")
    free = shutil.disk_usage(workspace.root).free
    roomy = free >= LOW_DISK_BYTES
    fix = "" if roomy else "free some space before the next cycle"
    yield DoctorFinding("disk", roomy, f"{free / 1024**3:.1f} GB free", fix)


def _writable(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK)


def _settings(workspace: Workspace, findings: list[DoctorFinding]) -> Settings | None:
    read: list[Settings] = []

    def look() -> Iterator[DoctorFinding]:
        read.append(load_settings(workspace))
        yield DoctorFinding("configuration", True, f"{workspace.config.name} is understood")
        old = read[0].rollout.superseded
        if old:
            yield DoctorFinding(
                "configuration",
                None,
                f"{len(old)} old settings are set: {' '.join(old)}",
                fix="take these lines out; docs/rollouts.md says what there is instead.",
            )

    findings += _guarded("configuration", look)
    return read[0] if read else None


def _ledger(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    url = str(settings.ledger_url)
    address = ledger_address(url)
    shown = address.render_as_string(hide_password=True)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).is_file():
        yield DoctorFinding("ledger", False, f"{shown} does not exist", "run liftloop init")
        return
    engine = open_ledger(url)
    if not is_current(engine):
        yield DoctorFinding("ledger", False, f"{shown} is not at this version", "run liftloop init")
        return
    try:
        refuse_another_ledger(workspace, engine=engine)
    except ConfigurationError as error:
        yield DoctorFinding(
            "ledger", False, error.problem.removesuffix("."), error.fix.removesuffix(".")
        )
        return
    yield DoctorFinding("ledger", True, f"{shown} answers and is at this version")
    with session(engine, read_only=True) as opened:
        verdict = check(workspace, settings.audit, opened)
    if verdict.intact:
        tail = verdict.final_hash[:12]
        entries = "1 entry" if verdict.entries == 1 else f"{verdict.entries:,} entries"
        anchors = "; ".join(anchor.sentence for anchor in verdict.anchors)
        words = f"{entries}, unbroken, final hash {tail}...; {anchors}"
        yield DoctorFinding("audit trail", True, words)
    else:
        fix = "find out who changed it (liftloop audit); compare with an earlier export"
        for problem in verdict.problems[:SHOWN]:
            yield DoctorFinding("audit trail", False, problem, fix)


def _unfinished(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    engine = open_ledger(str(settings.ledger_url))
    if not is_current(engine):
        return
    found = leftovers(workspace, engine=engine, secret_block=settings.notify.secret_block)
    for words, fix in found:
        yield DoctorFinding("unfinished work", None, words, fix)
    if not found:
        yield DoctorFinding("unfinished work", True, "none")


def _secrets(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    """Files of ours that hold a secret and that other users of the machine may read."""
    addresses = (settings.ledger_url or "", settings.streams.url or "")
    in_config = (
        settings.notify.slack_webhook
        or settings.notify.urls
        or any(urlsplit(one).password for one in addresses)
    )
    ours = (workspace.prefect_password, workspace.privacy_key)
    for path in (*ours, *([workspace.config] if in_config else [])):
        if os.name == "posix" and path.exists() and path.stat().st_mode & 0o077:
            detail = f"other users of this machine can read the secret in {path.name}"
            yield DoctorFinding("secrets", None, detail, f"chmod 600 {shlex.quote(str(path))}")


def _platforms(settings: Settings) -> Iterator[DoctorFinding]:
    """From the ledger: no platform is asked."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        for ok, words, fix in standings(settings.platforms, engine=engine):
            yield DoctorFinding("platforms", ok, words, fix)


def _facts(workspace: Workspace) -> Iterator[DoctorFinding]:
    from deltalake import DeltaTable

    if not workspace.facts.is_dir():
        return
    opened = []
    for log in sorted(workspace.facts.glob("*/*/_delta_log")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        try:
            opened.append(f"{name} at version {DeltaTable(str(log.parent)).version()}")
        except Exception as error:
            words = (str(error).splitlines() or [type(error).__name__])[0][:120]
            fix = "run: liftloop repair"
            yield DoctorFinding("facts", False, f"{name} cannot be opened: {words}", fix)
    if opened:
        yield DoctorFinding("facts", True, "; ".join(opened))
    elif not any(workspace.facts.iterdir()):
        yield DoctorFinding("facts", None, "none yet", "run liftloop ingest with your feed files")


def _damage(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    """What beside the ledger is not what it recorded."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        for found in doctor_on_damage(workspace, engine):
            yield DoctorFinding(*found)


def _inbox(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    """Which of the files that wait would be refused."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        account = account_of(settings.account)
        options = ImportOptions(
            default_segment=settings.account.segment or "",
            default_outcome_days=settings.data.outcome_days or 0,
        )
        for error in refusals_to_come(workspace, account=account, options=options):
            yield DoctorFinding(
                "inbox", None, f"{error.file} will be refused: {error.problem}", error.fix
            )


def _account(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    """Whether stored money is in the currency that the account has now (raises where it is not),
    and is converted and dated as the account would have it now."""
    engine = open_ledger(str(settings.ledger_url))
    if is_current(engine):
        account = account_of(settings.account)
        refuse_renamed_money(workspace, engine=engine, account=account, actor=None)
        for check, detail, fix in doctor_on_account(workspace, engine, account):
            yield DoctorFinding(check, None, detail, fix)


def _segments(workspace: Workspace, settings: Settings) -> Iterator[DoctorFinding]:
    """Segments of which two tell the same facts: money that is counted twice."""
    names = [
        "date",
        "segment",
        "channel",
        *IDS,
        *(i for i in IDS.values()),
        *FIGURES,
    ]
    facts = read_facts(workspace, "performance", as_of=None, timezone=settings.account.timezone)
    facts = facts[[name for name in dict.fromkeys(names) if name in facts]]
    for pair in doubled_segments(facts):
        one, other = sorted(pair.segments, key=lambda name: name == "all")
        yield DoctorFinding(
            "segments",
            False,
            f"{one} and {other} have the same facts of {pair.channel} on {pair.days} days "
            f"({pair.first} to {pair.last}): {pair.spend:,.2f} {settings.account.currency} "
            "are counted twice",
            "deliver the file again under the segment that is right: liftloop ingest FILE "
            f"--segment {shlex.quote(one)} --replace",
        )


def _outcomes(settings: Settings) -> Iterator[DoctorFinding]:
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
        yield DoctorFinding("guarded outcomes", None, words)
    for verdict in judge_outcomes(rules, tests):
        fix = "change what is sent and test again; until then its cells get no raise"
        words = outcome_sentence(verdict).removesuffix(".")
        if verdict.is_harmful:
            yield DoctorFinding("guarded outcomes", False, words, fix)
        else:
            unsure = verdict.could_hide_harm or not verdict.is_measured
            yield DoctorFinding("guarded outcomes", None if unsure else True, words)


def _registry(workspace: Workspace, settings: Settings | None) -> Iterator[DoctorFinding]:
    if not (workspace.registry / "mlflow.db").is_file():
        if settings is None or not _any_training(settings):
            yield DoctorFinding("model registry", None, "none yet", "the first training makes it")
            return
        return  # what lacks is among the damages
    from liftloop.adapters.registry.mlflow_store import (
        champion_version,
        check_database,
        tracking_uri,
    )

    check_database(workspace)
    yield DoctorFinding("model registry", True, tracking_uri(workspace))
    named = {name: champion_version(workspace, name=name) for name in ("response", "uplift")}
    versions = [f"{name} version {version}" for name, version in named.items() if version]
    if versions:
        yield DoctorFinding("champion", True, ", ".join(versions))
    else:
        fix = "the first liftloop cycle with holdout or units facts makes one"
        yield DoctorFinding("champion", None, "none yet", fix)


def _any_training(settings: Settings) -> bool:
    with session(open_ledger(str(settings.ledger_url)), read_only=True) as db:
        return bool(trainings(db, limit=1))


def _prefect() -> Iterator[DoctorFinding]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        yield DoctorFinding("Prefect", True, "no server set: flows run with a temporary one")
        return
    shown = re.sub(r"//[^/@]*@", "//", url)
    fix = "start it (liftloop up, or prefect server start), or unset PREFECT_API_URL"
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as answer:
            fine = answer.status == 200
        yield DoctorFinding("Prefect", fine, f"{shown} answers", "" if fine else fix)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        yield DoctorFinding("Prefect", False, f"{shown} does not answer: {reason}", fix)
