"""Making a workspace."""

from __future__ import annotations

import errno
import json
import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pycountry

from liftloop.adapters.files.whole_files import private_folder, write_whole
from liftloop.adapters.ledger.fresh_ledger import make_ledger
from liftloop.adapters.prefect_password import prefect_password
from liftloop.core.errors import ConfigurationError
from liftloop.settings.schema import file_ledger_url, load_settings, parse_settings
from liftloop.settings.workspace import Workspace

_CODE = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """What is decided about the account when its workspace is made; None: the default.

    Attributes
    ----------
    currency
        ISO 4217 code.
    timezone
        IANA name.
    segment
        Of exports that have neither a segment nor a country.
    """

    currency: str | None = None
    timezone: str | None = None
    segment: str | None = None

    def as_dict(self) -> dict[str, str]:
        """What was decided, by the key of ``[account]``."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def default_configuration() -> str:
    """The commented configuration file of a new workspace."""
    return Path(__file__).with_name("default.toml").read_text(encoding="utf-8")


def configuration(choice: AccountChoice) -> str:
    """The commented configuration file of a new workspace, with ``choice`` under ``[account]``.

    Raises
    ------
    ConfigurationError
        When there is no such currency or time zone.
    """
    if choice.currency is not None:
        check_currency(choice.currency)
    if choice.timezone is not None:
        check_timezone(choice.timezone)
    text = default_configuration()
    for name, value in choice.as_dict().items():
        line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
        there = re.search(rf"(?m)^#?{name} = .*$", text)
        assert there is not None, name
        text = text[: there.start()] + line + text[there.end() :]
    parse_settings(tomllib.loads(text), source="liftloop init")
    return text


def check_currency(code: str) -> str:
    """The ISO 4217 code, in capitals.

    Raises
    ------
    ConfigurationError
        When there is none such.
    """
    plain = code.strip().upper()
    if not _CODE.fullmatch(plain) or pycountry.currencies.get(alpha_3=plain) is None:
        raise ConfigurationError(
            f"There is no currency {code!r}.", fix="name it by its ISO 4217 code, as GBP or EUR."
        )
    return plain


def check_timezone(name: str) -> str:
    """The IANA name of a time zone.

    Raises
    ------
    ConfigurationError
        When there is none such.
    """
    plain = name.strip()
    try:
        ZoneInfo(plain)
    except (KeyError, OSError, ValueError):  # unknown; a folder of zones; a path
        raise ConfigurationError(
            f"There is no time zone {name!r}.",
            fix="name it by region and city, as Europe/London or America/New_York.",
        ) from None
    return plain


def init_workspace(root: Path, choice: AccountChoice = AccountChoice()) -> Workspace:
    """Make a workspace in ``root``, or complete one that is there; what exists stays as it is.

    MLflow's registry is made by the first training: importing MLflow takes seconds.

    Parameters
    ----------
    choice
        What its configuration says about the account.

    Raises
    ------
    ConfigurationError
        If ``root`` is a file, holds something else, or cannot be written; if there is no such
        currency or time zone, or the workspace is there and says otherwise.
    """
    workspace = Workspace(root)
    _check(workspace)
    text = configuration(choice)
    if workspace.config.exists():
        _check_same(workspace, choice)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not workspace.config.exists():
            write_whole(workspace.config, text.encode(), private=True)  # it may get a webhook
        for folder in workspace.folders:
            folder.mkdir(exist_ok=True)
        for folder in (workspace.prefect, workspace.logs):
            private_folder(folder)
        prefect_password(workspace)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # no other folder's right would help
            raise
        raise ConfigurationError(
            f"{root} cannot be made into a workspace: {error.strerror}.",
            fix="choose a folder that you may write.",
        ) from None
    _make_ledger(workspace)
    return workspace


def _make_ledger(workspace: Workspace) -> None:
    """Make the ledger that the settings name, or bring it to this version."""
    url = str(load_settings(workspace).ledger_url)
    is_here = url.startswith("sqlite:") and url == file_ledger_url(workspace)
    if is_here and make_ledger(workspace.ledger):
        return
    from liftloop.adapters.ledger.migrate import upgrade  # SQLAlchemy, needed here alone

    upgrade(url)


def _check_same(workspace: Workspace, choice: AccountChoice) -> None:
    """Settings of a workspace that is there are its owner's: refuse others."""
    account = load_settings(workspace).account
    for name, value in choice.as_dict().items():
        present = getattr(account, name)
        if present != value:
            shown = "not set" if present is None else present
            raise ConfigurationError(
                f"{workspace.root} is a workspace already, and its {name} is {shown}; "
                "nothing was changed.",
                fix=f"set {name} = {json.dumps(value, ensure_ascii=False)} under [account] in "
                f"{workspace.config}.",
            )


def _check(workspace: Workspace) -> None:
    root = workspace.root
    if any(sign in str(root.resolve()) for sign in "?#%"):
        raise ConfigurationError(
            f"{root}: a database address cannot hold '?', '#' or '%'.",
            fix="choose a folder without them in its path.",
        )
    if root.exists() and not root.is_dir():
        raise ConfigurationError(f"{root} is a file.", fix="name a folder.")
    if not root.is_dir() or workspace.config.exists():
        return
    found = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if found:
        raise ConfigurationError(
            f"{root} holds other things ({', '.join(found[:3])}{'...' if found[3:] else ''}) "
            "and is not a workspace; nothing was changed.",
            fix=f"choose a new folder, such as {root / 'workspace'}.",
        )
