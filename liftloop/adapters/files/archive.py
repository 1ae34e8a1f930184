"""Where delivered files go: a copy to the archive, the file itself out of the inbox.

The archive is laid out by content, ``archive/<sha256>/<name>``. Beside a copy stands how it was
read (``<delivery>.json``: the options and the account), so that a delivery that was cut short is
finished just as it was begun, whatever the configuration says by then.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from liftloop.adapters.importers import ImportOptions
from liftloop.core.feeds.context import Account, Rate
from liftloop.core.ids import canonical
from liftloop.settings.workspace import Workspace

_CHUNK = 1024 * 1024
_LONGEST_NAME = 200  # bytes; file systems allow 255, and a prefix or suffix must still fit


@dataclass(frozen=True, slots=True)
class Archived:
    """A file's copy in the archive."""

    path: Path
    sha256: str


def archive_file(workspace: Workspace, path: Path) -> Archived:
    """Copy a regular file into the archive; whole or not at all. Its content is its address.

    One program at a time archives (see ``deliveries.py``), so what a killed one left half copied is
    written over by the next.
    """
    digest = hashlib.sha256()
    workspace.archive.mkdir(parents=True, exist_ok=True)
    beside = workspace.archive / ".incoming"
    with path.open("rb") as source, beside.open("wb") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    place = workspace.archive / digest.hexdigest() / short_name(path.name)
    place.parent.mkdir(exist_ok=True)
    os.replace(beside, place)  # noqa: PTH105 (seen by whoever watches renames)
    return Archived(place, digest.hexdigest())


def forget(archived: Archived) -> None:
    """Take back a copy that came to nothing: no delivery of this content was ever begun."""
    folder = archived.path.parent
    if not any(folder.glob("d-*.json")):
        archived.path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8") as target:
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
    os.replace(beside, path)  # noqa: PTH105


def short_name(name: str) -> str:
    """``name`` cut to what a file system takes, keeping its ending."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    ending = "".join(Path(name).suffixes[-2:])[-20:]
    stem = name.encode()[: _LONGEST_NAME - len(ending.encode())].decode(errors="ignore")
    return stem + ending


# --- how a file was read ------------------------------------------------------------------------

LATER_OPTIONS = ("account", "stands", "decimal", "where", "parts", "day_order", "outcome_days")
_OF_THE_WORKSPACE = (
    "timezone",
    "currency",
    "segments_in_use",
    "channels_in_use",
    "default_outcome_days",
    "without_revenue",
)


def options_key(options: ImportOptions) -> dict[str, Any]:
    """What of the options changes what is read: values, and the content of the files named.

    What is the workspace's (time zone, currency, names in use) is left out: a file delivered again
    stays the same delivery when that changes. So are :data:`LATER_OPTIONS` and ``default_segment``
    while nothing is said of them: files taken in before there were such options keep their
    delivery.
    """
    said: dict[str, Any] = {}
    for item in fields(options):
        value = getattr(options, item.name)
        if item.name in ("feed", "importer", *_OF_THE_WORKSPACE) or (
            item.name in (*LATER_OPTIONS, "default_segment") and not value
        ):
            continue
        said[item.name] = _content(value)
    return said


def _content(value: Any) -> Any:
    if isinstance(value, Path):
        return hashlib.sha256(value.read_bytes()).hexdigest()
    return [_content(inner) for inner in value] if isinstance(value, tuple) else value


def save_reading(
    workspace: Workspace,
    archived: Archived,
    delivery: str,
    options: ImportOptions,
    account: Account,
    received_at: datetime | None = None,
) -> None:
    """Write down beside the copy how it was read; files the options name are archived too.

    ``received_at`` is the instant of the file's first receipt, where this is not its first reading.
    """

    def kept(value: Any) -> Any:
        if isinstance(value, Path):
            return str(archive_file(workspace, value).path.relative_to(workspace.archive))
        return [kept(inner) for inner in value] if isinstance(value, tuple) else value

    said = {item.name: kept(getattr(options, item.name)) for item in fields(options)}
    words = {"file": archived.path.name, "options": said, "account": asdict(account)}
    if received_at is not None:
        words["received_at"] = received_at.isoformat()
    write_whole(reading_path(workspace, archived.sha256, delivery), canonical(words))


def reading_path(workspace: Workspace, sha256: str, delivery: str) -> Path:
    return workspace.archive / sha256 / f"{delivery}.json"


def load_reading(
    workspace: Workspace, sha256: str, delivery: str
) -> tuple[Path, ImportOptions, Account]:
    """The copy, and how it was read."""
    place = reading_path(workspace, sha256, delivery)
    words = json.loads(place.read_text(encoding="utf-8"))
    return (
        place.parent / words["file"],
        _options(workspace, words["options"]),
        _account(words["account"]),
    )


def first_receipt(workspace: Workspace, sha256: str, delivery: str) -> datetime | None:
    """When the file of a later reading was first received; None for a first reading."""
    place = reading_path(workspace, sha256, delivery)
    moment = json.loads(place.read_text(encoding="utf-8")).get("received_at")
    return datetime.fromisoformat(moment) if moment else None


def _options(workspace: Workspace, said: Mapping[str, Any]) -> ImportOptions:
    mapping = workspace.archive / said["mapping"] if said["mapping"] else None
    plugins = tuple(workspace.archive / name for name in said["plugins"])
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in said.items()
    }
    return replace(ImportOptions(**{**values, "plugins": ()}), mapping=mapping, plugins=plugins)


def _account(said: Mapping[str, Any]) -> Account:
    rates = tuple(
        Rate(
            currency=rate["currency"],
            rate=Decimal(rate["rate"]),
            start=date.fromisoformat(rate["start"]),
            end=date.fromisoformat(rate["end"]),
        )
        for rate in said["rates"]
    )
    return Account(said["currency"], said["timezone"], rates)


# --- out of the inbox ----------------------------------------------------------------------------


def in_inbox(workspace: Workspace, path: Path) -> bool:
    """Whether the file lies in the inbox, and so is ours to move. A link there is, too."""
    return path.parent.resolve().is_relative_to(workspace.inbox.resolve())


def refuse(workspace: Workspace, path: Path, *, sha256: str | None, why: str) -> Path:
    """Put a refused file aside with the reason beside it; a file outside the inbox stays there.

    Returns
    -------
    Path
        The reason: ``refused/<start of the sha256>-<name>.txt``.
    """
    workspace.refused.mkdir(parents=True, exist_ok=True)
    name = f"{(sha256 or 'unread')[:8]}-{short_name(path.name)}"
    reason = workspace.refused / f"{name}.txt"
    write_whole(reason, why + "\n")
    if in_inbox(workspace, path) and (path.exists() or path.is_symlink()):
        shutil.move(path, workspace.refused / name)
    return reason


def waiting_files(inbox: Path) -> list[Path]:
    """The files in a folder and those below it, in order; not hidden ones, not unfinished ones."""
    return sorted(
        path
        for path in inbox.rglob("*")
        if (path.is_file() or path.is_symlink())
        and not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(inbox).parts)
        and path.suffix.lower() not in (".part", ".tmp", ".crdownload")
    )
