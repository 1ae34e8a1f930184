"""Whether a person agreed that their rows are learned from, and for which purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

UNIT_FEEDS = ("units", "events")  # the feeds whose rows name a person


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """What rows about persons must say to be learned from; by default nothing.

    Attributes
    ----------
    required
        The column ``consent`` must be true.
    purposes
        The column ``purpose`` must name one of these; none: any purpose will do.
    """

    required: bool = False
    purposes: tuple[str, ...] = ()

    def lacking(self, rows: Any) -> tuple[Any, Any]:
        """Of an Arrow table of a user-level feed, which rows lack consent, and which of the others
        a purpose: boolean arrays of its length. Rows without a ``unit_id`` are of nobody."""
        import pyarrow as arrow  # settings load this module, and most commands need no table
        from pyarrow import compute

        personal = compute.not_equal(compute.fill_null(rows["unit_id"], ""), "")
        nobody = compute.and_(personal, False)
        refused = nobody
        if self.required:
            agreed = compute.equal(_column(rows, "consent", arrow.float64()), 1.0)
            refused = compute.and_(personal, compute.invert(compute.fill_null(agreed, False)))
        if not self.purposes:
            return refused, nobody
        known = compute.is_in(
            _column(rows, "purpose", arrow.string()).cast(arrow.string()),
            value_set=arrow.array(self.purposes, arrow.string()),
        )
        other = compute.and_(personal, compute.invert(known))
        return refused, compute.and_(other, compute.invert(refused))

    def permitted(self, rows: Any) -> Any:
        """The rows of an Arrow table that may be learned from."""
        if self == ANY_ROW:
            return rows
        from pyarrow import compute

        refused, other = self.lacking(rows)
        return rows.filter(compute.invert(compute.or_(refused, other)))

    def notes(self, rows: Any) -> Iterator[str]:
        """What a delivery brought that is not learned from, a sentence each."""
        import pyarrow as arrow
        from pyarrow import compute

        refused, other = (_count(mask) for mask in self.lacking(rows))
        if refused:
            yield f"{_rows(refused)} without consent: stored, and not learned from."
        if other:
            named = ", ".join(self.purposes)
            yield f"{_rows(other)} of another purpose than {named}: stored, and not learned from."
        if not self.required:
            said = compute.equal(_column(rows, "consent", arrow.float64()), 0.0)
            if against := _count(compute.fill_null(said, False)):
                yield (
                    f"{_rows(against)} with consent refused are learned from like others: "
                    "set require_consent = true under [privacy] to leave them out."
                )


ANY_ROW = ConsentRules()  # whatever it says


def _column(rows: Any, name: str, kind: Any) -> Any:
    import pyarrow as arrow

    return rows[name] if name in rows.column_names else arrow.nulls(len(rows), kind)


def _count(mask: Any) -> int:
    import pyarrow as arrow
    from pyarrow import compute

    return int(compute.sum(compute.cast(mask, arrow.int64())).as_py() or 0)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
