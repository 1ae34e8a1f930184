"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SUFFIX = ".part"  # with a leading dot: what is being written is hidden, and swept up by the next


def write_whole(path: Path, content: bytes, *, private: bool = False) -> bool:
    """Write ``path`` beside, flush it to the disk, rename it into place.

    ``private``: nobody but its owner may read it, from its first byte on.

    Returns False, and the file is not touched, when it holds exactly ``content`` already.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    publish([(path, content)], private=private)
    return True


def publish(files: Sequence[tuple[Path, bytes]], *, private: bool = False) -> None:
    """Write several files of one folder: all are on the disk before the first becomes visible,
    and they become visible in the order given."""
    if not files:
        return
    folder = files[0][0].parent
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files:
        if private:
            part(path).unlink(missing_ok=True)  # one left behind has the rights it was made with
        with open(part(path), "wb", opener=_private if private else None) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for path, _ in files:
        part(path).replace(path)
    sync_folder(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, or close one that is there to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        with suppress(PermissionError):  # it is somebody else's, who lets us in
            folder.chmod(0o700)


def publish_made(made: Path, path: Path) -> None:
    """Give a file that another program has written beside its name, once it is on the disk."""
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(path)
    sync_folder(path.parent)


def part(path: Path) -> Path:
    """Where ``path`` is while it is being written."""
    return path.with_name(f".{path.name}{SUFFIX}")


def sync_folder(folder: Path) -> None:
    """A rename is durable once its folder is on the disk; Windows does that by itself."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
