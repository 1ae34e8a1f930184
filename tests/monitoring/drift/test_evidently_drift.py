from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.evidently_drift import DriftConfig, as_html, as_json, drift


def frame(n: int, *, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "ctr": rng.normal(shift, 1.0, n),
            "cpc": rng.normal(0, 1, n),
            "spend_share": rng.normal(shift, 1.0, n),
            "channel": rng.choice(["search", "social"], n),
        }
    )


def test_two_samples_of_the_same_market_do_not_drift() -> None:
    verdict = drift(frame(800, seed=1), frame(1600, seed=2))
    assert verdict.measurable
    assert not verdict.drifted
    assert "No drift: 0 of 2 columns" in verdict.summary


def test_a_shift_is_measured_in_standard_deviations_of_the_reference() -> None:
    verdict = drift(frame(2000, shift=1.0, seed=1), frame(2000, seed=2))
    ctr = next(c for c in verdict.columns if c.column == "ctr")
    assert ctr.distance == pytest.approx(1.0, abs=0.08)
    assert ctr.method == "wasserstein"
    assert verdict.drifted
    assert verdict.share == 0.5


def test_what_the_loop_itself_moves_is_reported_and_does_not_alarm() -> None:
    now = frame(500, seed=1)
    now["spend_share"] += 3.0
    verdict = drift(now, frame(500, seed=2))
    assert not verdict.drifted
    assert "Also moved, and not counted: spend_share." in verdict.summary


def test_a_shift_gives_the_same_verdict_in_a_tenth_of_the_rows() -> None:
    for shift in (0.0, 1.0):
        now, then = frame(5000, shift=shift, seed=1), frame(5000, seed=2)
        whole = drift(now, then)
        tenth = drift(now.iloc[::10], then.iloc[::10])
        assert whole.drifted == tenth.drifted == bool(shift)


def test_a_single_column_needs_to_move_far_to_alarm_alone() -> None:
    then = frame(3000, seed=2)
    just = then.assign(cpc=then.cpc + 0.25)
    config = DriftConfig(share=0.9)
    verdict = drift(just, then, config=config)
    assert [c.column for c in verdict.columns if c.drifted] == ["cpc"]
    assert not verdict.drifted
    assert drift(then.assign(cpc=then.cpc + 0.35), then, config=config).drifted


def test_a_category_that_was_never_seen_counts() -> None:
    now = frame(500, seed=1).assign(channel="new")
    verdict = drift(now, frame(500, seed=2), config=DriftConfig(reported=()))
    channel = next(c for c in verdict.columns if c.column == "channel")
    assert channel.method == "jensenshannon"
    assert channel.drifted
    assert verdict.drifted


def test_what_evidently_would_raise_on_is_told_instead() -> None:
    good = frame(200)
    empty = drift(good.iloc[:0], good)
    assert not empty.measurable
    assert "current window has 0 rows" in empty.reason
    silent = drift(good.assign(ctr=np.nan), good)
    assert silent.measurable
    assert "Not measurable: ctr." in silent.summary
    one_sided = drift(good.drop(columns="cpc"), good)
    assert next(c for c in one_sided.columns if c.column == "cpc").note == (
        "missing in the current window"
    )
    nothing = drift(good[["ctr"]].assign(ctr=np.nan), good[["ctr"]])
    assert not nothing.measurable
    assert not nothing.drifted
    only_own = drift(good[["spend_share"]], good[["spend_share"]])
    assert not only_own.measurable


def test_infinities_and_constants_do_not_break_it() -> None:
    now, then = frame(200, seed=1), frame(200, seed=2)
    now.loc[0, "ctr"] = np.inf
    verdict = drift(now.assign(cpc=1.0), then.assign(cpc=1.0))
    assert next(c for c in verdict.columns if c.column == "cpc").distance == 0.0


def test_large_windows_are_sampled_the_same_way_each_time_and_it_is_said() -> None:
    config = DriftConfig(max_rows=500)
    first = drift(frame(3000, seed=1), frame(3000, seed=2), config=config)
    again = drift(frame(3000, seed=1), frame(3000, seed=2), config=config)
    assert first == again
    assert first.sampled
    assert first.rows_current == 3000
    assert "sample of 500 rows" in first.summary


def test_the_snapshot_becomes_a_page_without_outside_requests_and_small_json() -> None:
    verdict = drift(frame(100, seed=1), frame(100, seed=2))
    page = as_html(verdict.snapshot)
    assert "<html" in page.lower()
    assert 'src="http' not in page
    assert len(as_json(verdict.snapshot)) < 100_000
    assert json.loads(json.dumps(verdict.as_dict()))["measurable"] is True


def test_the_inputs_are_not_changed() -> None:
    now, then = frame(100, seed=1), frame(100, seed=2)
    copies = now.copy(), then.copy()
    drift(now, then)
    pd.testing.assert_frame_equal(now, copies[0])
    pd.testing.assert_frame_equal(then, copies[1])
