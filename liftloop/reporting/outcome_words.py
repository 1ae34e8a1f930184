"""How gains and returns are said: in money, or, where no worth of a conversion is known, in
conversions and what one costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutcomeWords:
    """The words of one account: its ``currency``, and whether its outcome is ``counted``:
    conversions of which no value is known, each of which stands as ``worth`` in every amount."""

    currency: str
    counted: bool = False
    worth: float = 1.0

    @property
    def gain_label(self) -> str:
        """What a gain is of, after its number and before "a day".

        >>> OutcomeWords("EUR").gain_label, OutcomeWords("EUR", counted=True).gain_label
        ('EUR profit', 'conversions')
        """
        return "conversions" if self.counted else f"{self.currency} profit"

    def gain(self, amount: float) -> str:
        """A signed number of a gain; small numbers of conversions keep their parts."""
        if not self.counted:
            return f"{amount:+z,.0f}"
        count = amount / self.worth
        return f"{count:+z,.{1 if abs(count) < SMALL else 0}f}"

    @property
    def return_label(self) -> str:
        """The name of what a unit of spend brings."""
        return "cost per incremental conversion" if self.counted else "iROAS"

    def returns(self, rate: float) -> str:
        """What a unit of spend brings: a rate, or the cost of a conversion.

        >>> OutcomeWords("EUR").returns(0.25), OutcomeWords("EUR", counted=True).returns(0.25)
        ('0.25', '4.00')
        """
        if not self.counted:
            return f"{rate:.2f}"
        return f"{self.worth / rate:,.2f}" if rate > LEAST else "no limit"

    def interval(self, low: float, high: float) -> str:
        """The ends of an interval of such a rate, the smaller number first."""
        if not self.counted:
            return f"{low:.2f} to {high:.2f}"
        if high <= LEAST:
            return "no limit"
        return f"{self.returns(high)} to {self.returns(low)}"

    def next_unit(self, here: float, other: float, where: str, *, untested: bool) -> str:
        """What the next unit of spend earns in a cell, against another place."""
        said = " (never tested)" if untested else ""
        if not self.counted:
            return f"the next 1.00 here earns about {here:.2f}{said} against {other:.2f} {where}"
        return (
            f"the next conversion here costs about {self._cost(here)}{said} against "
            f"{self._cost(other)} {where}"
        )

    def extra(self, rate: float, *, full: bool = True) -> str:
        """What more money returns in a cell; not ``full``: the figure alone.

        >>> OutcomeWords("EUR").extra(2.456), OutcomeWords("EUR").extra(2.456, full=False)
        ('each extra EUR returns 2.46', '2.46')
        """
        if not self.counted:
            return f"each extra {self.currency} returns {rate:.2f}" if full else f"{rate:.2f}"
        return f"the next conversion costs {self._cost(rate)}" if full else self._cost(rate)

    def _cost(self, rate: float) -> str:
        if rate <= LEAST:
            return "more than anyone would pay"
        return f"{self.worth / rate:,.2f} {self.currency}"


SMALL = 100.0
LEAST = 1e-4  # of a unit of spend: what returns less returns nothing
