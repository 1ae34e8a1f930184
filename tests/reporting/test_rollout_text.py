"""What ``liftloop rollouts`` prints."""

from __future__ import annotations

from types import SimpleNamespace

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.rollout.transitions import hold, roll_back
from liftloop.reporting.rollout_text import rollout_lines


def test_a_running_rollout_is_shown_whole(made: SimpleNamespace) -> None:
    steps = made.flowing()
    late = GuardrailVerdict("revenue", "review", "hold", "No sales.")
    quiet = hold(
        steps[-1].after,
        on=made.day(15),
        reason="Quiet.",
        verdicts=(made.profit(1_500.0, 1_800.0), late),
    )
    text = "\n".join(rollout_lines("r-1", made.told(*steps, quiet)))
    for words in (
        "r-1: Running since 2 March 2026.",
        "  Of 12,000 EUR at risk this quarter 3,400 are in use.",
        "  wave 1 (north, west): plan 3 of 16 March 2026, since 16 March 2026",
        "  wave 3 (central, east): plan 1 of 2 March 2026, 50% of its step, since 16 March 2026",
        "revenue             not measurable  No sales.",
        "+1,500 (-300 to +3,300)",
        "  goes on with:   With the next plan",
        "  slowed by:      A plan that needs",
        "  taken back by:  A measured loss",
    ):
        assert words in text, words
    assert "history" not in text


def test_the_bar_shows_zero_the_gain_and_the_bounds_cut_at_its_ends(made: SimpleNamespace) -> None:
    steps = made.flowing()
    wide = hold(
        steps[-1].after, on=made.day(15), reason="Quiet.", verdicts=(made.profit(1_500.0, 9_000.0),)
    )
    (line,) = [x for x in rollout_lines("r-1", made.told(*steps, wide)) if "2026-03-17" in x]
    drawn = line[line.index("2026-03-17") + 12 :][:41]
    assert (drawn.index("|"), drawn.index("o")) == (20, 30)  # of -3,000 to +3,000
    assert (drawn[0], drawn[-1]) == ("-", "-")


def test_an_ended_rollout_is_short_and_its_history_is_shown_when_asked(
    made: SimpleNamespace,
) -> None:
    steps = made.proven()
    back = roll_back(steps[-1].after, now=made.day(40), cooldown_days=28, reason="It loses.")
    found = made.told(*steps, back)
    text = "\n".join(rollout_lines("r-1", found))
    assert "Cool-down: no plan enters before 9 May 2026." in text
    assert "Gain proven on 23 March 2026: +4,000 EUR measured" in text
    assert "11 April 2026, taken back: It loses." in text
    assert "guardrails:" not in text and "wave 1" not in text and "It begins." not in text
    history = "\n".join(rollout_lines("r-1", found, steps=True))
    assert "    2 March 2026, started: It begins." in history
    assert "    24 March 2026, no change: Nothing moves." in history
