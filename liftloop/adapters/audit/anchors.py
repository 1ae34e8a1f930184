"""Heads of the audit trail outside of it: in the outbox, in messages, signed, and in a file or a
bucket that only grows. Who rewrites the trail must rewrite all of them, too.

A head is the hash of an entry; it stands for every entry before it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from liftloop.adapters.audit.trail import Anchor, AuditVerdict, entry_problem, verify
from liftloop.adapters.files.outbox import as_json, read_export
from liftloop.adapters.ledger.decisions import budget_lines, decision
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import AuditEntry, AuditHead, Message
from liftloop.core.errors import ConfigurationError, Declined, OutsideServiceFailed, RefusedFile
from liftloop.settings.schema import Audit
from liftloop.settings.workspace import Workspace

SHORTEST_SECRET = 32
_EXPORT = re.compile(r"budgets-\d{4}-\d{2}-\d{2}-(?P<id>[A-Za-z0-9_-]+)\.(csv|json|parquet)")
_HEAD = re.compile(r"Audit trail: ([0-9a-f]{64})")
REWRITTEN = "which the trail does not contain: it was rewritten or cut off since"
Trail = Mapping[str, int]  # hash of an entry -> its number


def check(
    workspace: Workspace, audit: Audit, db: Session, *, known_hash: str | None = None
) -> AuditVerdict:
    """The whole check: the trail itself, the ledger it tells of, and every anchor there is.

    Parameters
    ----------
    known_hash
        See :func:`liftloop.adapters.audit.trail.verify`.
    """
    verdict = verify(db, known_hash=known_hash)
    query = select(AuditEntry.hash, AuditEntry.sequence)
    trail: Trail = dict(db.exec(query).all())
    anchors = (
        *_signature(workspace, audit, db, trail),
        _outbox(workspace, db, trail),
        _messages(workspace, db, trail),
        *_anchor_file(workspace, audit, trail),
    )
    problems = (*verdict.problems, *(problem for one in anchors for problem in one.problems))
    return replace(
        verdict,
        intact=not problems,
        problem=problems[0] if problems else "",
        problems=problems,
        anchors=anchors,
    )


def _anchor(kind: str, heads: Iterable[tuple[str, str]], trail: Trail, place: str) -> Anchor:
    """What heads found in a place prove. ``heads``: (where exactly, head)."""
    known = list(heads)
    lost = [where for where, head in known if head not in trail]
    upto = max((trail[head] for _, head in known if head in trail), default=0)
    problems = [f"{where} carries a head {REWRITTEN}" for where in lost[:3]]
    if len(lost) > len(problems):
        problems.append(f"{len(lost) - len(problems)} more {place} carry heads {REWRITTEN}")
    words = f"{place}: {len(known)} heads, up to entry {upto:,}" if known else f"{place}: none yet"
    return Anchor(kind, len(known), upto, words, tuple(problems))


def _outbox(workspace: Workspace, db: Session, trail: Trail) -> Anchor:
    """The budgets files: their head, and the amounts they took out of the ledger."""
    heads, problems = [], []
    for path in sorted(workspace.outbox.glob("budgets-*")):
        named = _EXPORT.fullmatch(path.name)
        if named is None:
            continue
        try:
            lines, head = read_export(path)
        except RefusedFile as error:
            problems.append(f"{path.name} in the outbox cannot be read ({error.problem})")
            continue
        if head:
            heads.append((path.name, head))
        if decision(db, id=named["id"]) is None:
            problems.append(f"{path.name} is of a decision that is gone from the ledger")
        elif as_json(lines) != as_json(budget_lines(db, decision_id=named["id"])):
            problems.append(f"{path.name} has other budgets than the ledger: one was changed")
    found = _anchor("outbox files", heads, trail, "outbox files")
    return replace(found, problems=(*problems, *found.problems))


def _messages(workspace: Workspace, db: Session, trail: Trail) -> Anchor:
    """The messages on decisions, in the ledger and as they were written to the outbox."""
    heads = [
        (f"message {number}", head)
        for number, text in db.exec(select(Message.sequence, Message.text))
        for head in _HEAD.findall(text)
    ]
    for path in sorted((workspace.outbox / "messages").glob("*.json")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # somebody else's file
            continue
        heads += [(f"messages/{path.name}", head) for head in set(_HEAD.findall(text))]
    return _anchor("messages", heads, trail, "messages")


def _signature(workspace: Workspace, audit: Audit, db: Session, trail: Trail) -> tuple[Anchor, ...]:
    head = db.get(AuditHead, 1)
    signed = head is not None and bool(head.signature)
    if audit.key_file is None:
        if not signed:
            return ()
        return (Anchor("signature", 0, 0, "signature: not checked, [audit] key_file is not set"),)
    secret = _secret(workspace, audit.key_file)
    if head is None or not signed:
        words = "the trail is not signed, though [audit] key_file is set: liftloop audit sign"
        problems = (words,) if trail else ()
        return (Anchor("signature", 0, 0, "signature: none yet", problems),)
    wanted = _sign(secret, head.signed_entries, head.signed_hash)
    if not hmac.compare_digest(head.signature, wanted):
        words = "the signature was not made with the key in [audit] key_file"
        return (Anchor("signature", 0, 0, "signature: not ours", (words,)),)
    found = _anchor("signature", [("the signature", head.signed_hash)], trail, "signature")
    after = len(trail) - found.entries
    more = f", {after:,} since" if after else ""
    words = f"signature: good up to entry {found.entries:,}{more}"
    return (replace(found, sentence=words),)


def _anchor_file(workspace: Workspace, audit: Audit, trail: Trail) -> tuple[Anchor, ...]:
    if audit.anchor is None:
        return ()
    secret = _secret(workspace, audit.key_file) if audit.key_file else None
    try:
        kept = list(_kept(workspace, audit.anchor))
    except (OSError, ValueError) as error:
        words = f"anchor file: {audit.anchor} cannot be read ({_short(error)})"
        return (Anchor("anchor file", 0, 0, words, (words,)),)
    found = _anchor("anchor file", [(one.where, one.hash) for one in kept], trail, "anchor file")
    forged = [
        f"{one.where} is not signed with our key"
        for one in kept
        if secret is not None
        and one.signature
        and not hmac.compare_digest(one.signature, _sign(secret, one.entries, one.hash))
    ]
    return (replace(found, problems=(*forged[:3], *found.problems)),)


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head in the anchor file or bucket, and where exactly it was found."""

    where: str
    entries: int
    hash: str
    signature: str


def add_anchor(workspace: Workspace, audit: Audit, engine: Engine, *, at: datetime) -> bool:
    """Sign the head of the trail and add it to the anchor file; False where neither is configured,
    or the head is there already.

    Raises
    ------
    ConfigurationError
        If the key cannot be used.
    Declined
        If the trail does not go on from the head that was signed last: it is not signed again.
    OutsideServiceFailed
        If the anchor file cannot be written.
    """
    if audit.key_file is None and audit.anchor is None:
        return False
    secret = _secret(workspace, audit.key_file) if audit.key_file else None
    with session(engine) as db:
        head = db.get(AuditHead, 1)
        if head is None or not head.entries:
            return False
        signature = ""
        if secret is not None:
            _must_follow(db, head)
            signature = _sign(secret, head.entries, head.hash)
            head.signed_entries, head.signed_hash = head.entries, head.hash
            new, head.signature = signature != head.signature, signature
            db.add(head)
        else:
            new = True
        if audit.anchor is not None:
            line = KeptHead("", head.entries, head.hash, signature)
            new = _append(workspace, audit.anchor, line, at=at) or new
    return new


def _must_follow(db: Session, head: AuditHead) -> None:
    """Refuse to sign a trail that was changed since it was signed last."""
    previous, place = head.signed_hash, head.signed_entries
    kept = db.exec(select(AuditEntry.hash).where(AuditEntry.sequence == place)).first()
    problem = "" if not place or kept == previous else f"entry {place} is another one"
    later = select(AuditEntry).where(AuditEntry.sequence > place)
    if place and not problem:
        for entry in db.exec(later.order_by(col(AuditEntry.sequence))):
            place += 1
            problem = problem or entry_problem(entry, previous, place)
            previous = entry.hash
    if problem:
        raise Declined(
            f"The audit trail was changed since it was signed ({problem}): it is not signed again. "
            "liftloop audit says what differs."
        )


def _secret(workspace: Workspace, path: Path) -> bytes:
    fix = f"put a secret of {SHORTEST_SECRET} characters or more there, or correct the key."
    try:
        secret = (workspace.root / path).read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"[audit] key_file: {path} cannot be read ({error.strerror}).", fix=fix
        ) from None
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(f"[audit] key_file: the secret in {path} is too short.", fix=fix)
    return secret


def _sign(secret: bytes, entries: int, hash: str) -> str:
    text = f"liftloop audit {entries} {hash}"
    return f"hmac-sha256:{hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()}"


def _append(workspace: Workspace, place: str, head: KeptHead, *, at: datetime) -> bool:
    """Add a head to the anchor file, or to the bucket as an object of its own; False where it is
    there already."""
    said = {
        "entries": head.entries,
        "hash": head.hash,
        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        **({"signature": head.signature} if head.signature else {}),
    }
    content = (json.dumps(said) + "\n").encode()
    try:
        if "://" in place:
            return _put(place, f"{head.entries:012d}-{head.hash[:16]}.json", content)
        path = workspace.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if any(head.hash in line for line in known[-1:]):
            return False
        with path.open("ab") as file:  # one write at the end of the file: lines never mix
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as error:
        raise OutsideServiceFailed(
            "The anchor file of the audit trail",
            f"{place} cannot be written ({_short(error)}).",
            fix="mend [audit] anchor; liftloop audit sign then adds what is missing.",
        ) from error
    return True


def _put(place: str, name: str, content: bytes) -> bool:
    files, folder = _bucket(place)
    path = f"{folder}/{name}"
    if files.get_file_info(path).is_file:
        return False
    files.create_dir(folder, recursive=True)
    with files.open_output_stream(path) as stream:
        stream.write(content)
    return True


def _bucket(place: str) -> tuple[Any, str]:
    from pyarrow import fs  # a tenth of a second, needed for buckets alone

    files, folder = fs.FileSystem.from_uri(place)
    return files, folder.rstrip("/")


def _kept(workspace: Workspace, place: str) -> Iterator[KeptHead]:
    if "://" not in place:
        path = workspace.root / place
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines, start=1):
                yield _read(f"line {number} of {path.name}", line)
        return
    from pyarrow import fs

    files, folder = _bucket(place)
    for info in files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        with files.open_input_stream(info.path) as stream:
            yield _read(info.base_name, stream.read().decode())


def _read(where: str, text: str) -> KeptHead:
    try:
        said = json.loads(text)
        return KeptHead(
            where, int(said["entries"]), str(said["hash"]), str(said.get("signature", ""))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} is no head of an audit trail: {_short(error)}") from None


def _short(error: Exception) -> str:
    return (str(getattr(error, "strerror", "") or error).splitlines() or [""])[0][:200]
