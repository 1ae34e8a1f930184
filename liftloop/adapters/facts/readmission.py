"""Quarantined rows on their way back: sifted again, and stored as a delivery of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as arrow
from pyarrow import parquet
from sqlalchemy import Engine, update
from sqlmodel import Session, col, select

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.facts.archived_deliveries import READMISSION, finish_pending
from liftloop.adapters.facts.deliveries import taking_in
from liftloop.adapters.facts.quarantine import NAMES, SPARE, open_rows
from liftloop.adapters.facts.recording import Intake, long_key, next_instant, store_delivery
from liftloop.adapters.facts.summaries import DeliverySummary, summary_of
from liftloop.adapters.files.archive import Archived, save_reading
from liftloop.adapters.files.rereading import close_replaced_readings
from liftloop.adapters.files.spreadsheet import rearmed
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, QuarantinedRow
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.deliveries.questions import Stands
from liftloop.core.feeds.validate import Sifted, sift
from liftloop.core.ids import canonical

_ROWS_AT_ONCE = 500


def readmit(
    intake: Intake,
    *,
    mended: Path | None = None,
    feed: str | None = None,
    received_at: datetime | None = None,
    stands: Stands = "",
) -> list[DeliverySummary]:
    """Sift open rows again and store those that now keep the rules, as a delivery of their own.

    Parameters
    ----------
    mended
        An export that was mended. None: the open rows as they were received, which helps after the
        configuration changed (a rate was added).
    feed
        Only rows of this feed.
    stands
        "replace" where the rows stand for what tells the same money on another level of detail,
        "beside" where they add to it; "" asks where it is in doubt.

    Returns
    -------
    list of DeliverySummary
        One a feed. A row that still breaks a rule stays open where it is and is not counted here:
        each delivery's counts keep adding up. A row without ``reported_at`` counts as reported when
        it was first received, so that it cannot hide what came in since.

    Raises
    ------
    RefusedFile
        When the file is no export of ours, names a row that is unknown, or one row twice; when
        nobody but the sender can say whether the rows tell money that is stored already.
    """
    engine = intake.engine
    with taking_in(intake.workspace):
        finish_pending(intake.workspace, engine=engine)
        close_replaced_readings(engine)
        rows = open_rows(engine, feed=feed)
        if mended is not None:
            rows = _mended(engine, mended, rows)
        taken = []
        for name, part in rows.groupby("feed", sort=True):
            back = Readmission(intake, str(name), part.reset_index(drop=True), stands=stands)
            summary = back.run(received_at or clock.now())
            taken += [summary] if summary else []
    return taken


def named_rows(engine: Engine, path: Path) -> pd.DataFrame:
    """The cells of an export of ours as text, each row's name (:data:`NAMES`) among them.

    Raises
    ------
    RefusedFile
        When the file is no export of ours, names a row that is unknown, or one row twice.
    """
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RefusedFile(
            path.name,
            f"it cannot be read as CSV ({str(error).splitlines()[0]}).",
            fix="export the rows again and mend the new file.",
        ) from None
    for name in NAMES:
        if name not in cells.columns:
            raise RefusedFile(
                path.name,
                "it is missing, so no row can be told.",
                column=name,
                fix="keep the first two columns of the export as they are.",
            )
    cells = cells.map(rearmed)
    _refuse_strangers(engine, path, list(zip(*(cells[name] for name in NAMES), strict=True)))
    return cells


def _mended(engine: Engine, path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The open rows the file names, with the file's cells. Rows closed before are passed over."""
    cells = named_rows(engine, path)
    named = list(zip(cells["delivery_id"], cells["row_number"], strict=True))
    own = [name for name in cells.columns if name not in SPARE]
    said = {
        row: canonical({name: cell for name, cell in zip(own, values, strict=True) if cell != ""})
        for row, values in zip(named, cells[own].to_numpy().tolist(), strict=True)
    }
    keys = list(zip(rows["delivery_id"], rows["row_number"].astype(str), strict=True))
    own_rows: list[Any] = [said.get(row) for row in keys]
    kept = rows.assign(row=own_rows)
    return kept[kept["row"].notna()]


def _refuse_strangers(engine: Engine, path: Path, named: Sequence[tuple[str, str]]) -> None:
    with session(engine, read_only=True) as opened:
        known = {
            (delivery, str(number))
            for delivery, number in opened.exec(
                select(QuarantinedRow.delivery_id, QuarantinedRow.row_number).where(
                    col(QuarantinedRow.delivery_id).in_({delivery for delivery, _ in named})
                )
            )
        }
    seen: set[tuple[str, str]] = set()
    for row in named:
        problem = "is not in quarantine" if row not in known else "is there twice"
        if row not in known or row in seen:
            raise RefusedFile(
                path.name,
                f"row {row[1]!r} of delivery {row[0]!r} {problem}.",
                fix="keep the first two columns of the export as they are.",
            )
        seen.add(row)


@dataclass(frozen=True, slots=True)
class Readmission:
    """The open rows of one feed on their way back; ``because`` says why, where nobody asked."""

    intake: Intake
    feed: str
    rows: pd.DataFrame
    because: str = ""
    stands: Stands = ""

    def run(self, now: datetime) -> DeliverySummary | None:
        at = next_instant(self.intake.engine, now)
        sifted = self._sifted(at)
        back = self.rows.iloc[sifted.accepted["row_number"].to_numpy() - 1]
        if not len(back):
            return None
        numbers = zip(back["delivery_id"], back["row_number"].astype(int), strict=True)
        resolved = [[delivery, number] for delivery, number in numbers]
        text = canonical([resolved, back["row"].tolist()])
        delivery = long_key("d", READMISSION, self.feed, text)
        sha256 = self._keep(delivery, text, sifted)
        intended = Delivery(
            id=delivery,
            feed=self.feed,
            filename=READMISSION,
            sha256=sha256,
            importer=READMISSION,
            received_at=at,
            rows_read=len(back),
            received=len(back),
            stored=0,
            superseded=0,
            quarantined=0,
            state="pending",
            notes=json.dumps([self.because] if self.because else []),
        )
        store_delivery(
            self.intake,
            intended,
            replace(sifted, rejected=sifted.rejected.iloc[:0]),
            told=lambda done, steps: None,
            resolves=lambda opened: self._resolve(opened, resolved, intended),
            stands=self.stands,
        )
        return summary_of(self.intake.engine, delivery)

    def _resolve(
        self, opened: Session, resolved: Sequence[Sequence[Any]], intended: Delivery
    ) -> None:
        _resolve(opened, resolved, intended.id)
        if self.because:
            note_judged_again(
                opened, intended, actor=self.intake.actor, because=self.because, rows=len(resolved)
            )

    def _sifted(self, at: datetime) -> Sifted:
        sifted = sift_rows(self.feed, self.rows, account=self.intake.account, received_at=at)
        accepted = sifted.accepted
        unreported = accepted["reported_at"] == pd.Timestamp(at)
        first = self._first_received().iloc[accepted["row_number"].to_numpy() - 1]
        reported = accepted["reported_at"].mask(unreported, first.reset_index(drop=True))
        return replace(sifted, accepted=accepted.assign(reported_at=reported))

    def _first_received(self) -> pd.Series[Any]:
        with session(self.intake.engine, read_only=True) as opened:
            named = opened.exec(
                select(Delivery.id, Delivery.received_at).where(
                    col(Delivery.id).in_(set(self.rows["delivery_id"]))
                )
            ).all()
        moments = pd.Series({name: pd.to_datetime(at, utc=True) for name, at in named})
        return self.rows["delivery_id"].map(moments).dt.as_unit("us")

    def _keep(self, delivery: str, text: str, sifted: Sifted) -> str:
        """The rows, typed, in the archive: what a crash leaves undone is finished from them."""
        sha256 = long_key("readmission", text)
        folder = self.intake.workspace.archive / sha256
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{delivery}.part"
        back = self.rows["row"].iloc[sifted.accepted["row_number"].to_numpy() - 1]
        rows = sifted.accepted.assign(
            currency=[str(json.loads(row).get("currency", "")) for row in back]
        )
        parquet.write_table(arrow.Table.from_pandas(rows, preserve_index=False), beside)
        copy = folder / f"{delivery}.parquet"
        beside.replace(copy)
        save_reading(
            self.intake.workspace,
            Archived(copy, sha256),
            delivery=delivery,
            options=ImportOptions(stands=self.stands),
            account=self.intake.account,
        )
        return sha256


def sift_rows(feed: str, rows: pd.DataFrame, *, account: Account, received_at: datetime) -> Sifted:
    """Open rows after their contract; ``row_number`` is then their place in ``rows``, from 1."""
    frame = pd.DataFrame([json.loads(row) for row in rows["row"]])
    for name in FEEDS[feed].required:  # rows that could not be split may lack them all
        if name not in frame.columns:
            frame[name] = pd.Series([None] * len(frame), dtype=object)
    return sift(feed, frame, account=account, received_at=received_at, refuse=False)


def note_judged_again(
    opened: Session, intended: Delivery, *, actor: str, because: str, rows: int
) -> None:
    """The audit entry of rows that were judged again by themselves."""
    append_audit(
        opened,
        AuditEvent(
            key=f"rejudge:{intended.id}",
            actor=actor,
            act="rejudge",
            subject=intended.id,
            payload={"filename": intended.filename, "reason": because, "rows": rows},
            at=intended.received_at,
        ),
    )


def _resolve(opened: Session, resolved: Sequence[Sequence[Any]], delivery: str) -> None:
    by_origin: dict[str, list[int]] = {}
    for origin, number in resolved:
        by_origin.setdefault(origin, []).append(number)
    for origin, numbers in by_origin.items():
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            opened.connection().execute(
                update(QuarantinedRow)
                .where(col(QuarantinedRow.delivery_id) == origin)
                .where(col(QuarantinedRow.row_number).in_(numbers[start : start + _ROWS_AT_ONCE]))
                .values(state="readmitted", resolved_by=delivery)
            )
