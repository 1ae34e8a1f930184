"""A workspace: one folder that holds everything the loop keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# The variable that a command sets where Prefect's server lives for this command alone.
TEMPORARY_SERVER = "LIFTLOOP_TEMPORARY_SERVER"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The places inside a workspace. Holds paths only; opening one makes nothing."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "liftloop.toml"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def facts(self) -> Path:
        """Delta Lake tables: ``facts/<feed>/current`` and ``facts/<feed>/history``."""
        return self.root / "facts"

    @property
    def registry(self) -> Path:
        """MLflow's database and artifacts, Optuna's studies."""
        return self.root / "registry"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def archive(self) -> Path:
        """Every delivered file, as it came, named by its content."""
        return self.root / "archive"

    @property
    def refused(self) -> Path:
        return self.root / "refused"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def prefect(self) -> Path:
        return self.root / "prefect"

    @property
    def prefect_password(self) -> Path:
        """What the server of ``liftloop up`` asks for, in a file only its owner may read."""
        return self.root / "prefect-password"

    @property
    def privacy_key(self) -> Path:
        """What hashes the ids of persons who were forgotten, in a file only its owner may read."""
        return self.root / "privacy-key"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (
            self.facts,
            self.registry,
            self.inbox,
            self.archive,
            self.refused,
            self.outbox,
            self.reports,
            self.prefect,
            self.locks,
        )
