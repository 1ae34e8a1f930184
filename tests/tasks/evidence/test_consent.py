"""Consent and purpose from a delivered file to what is learned from."""

from __future__ import annotations

from datetime import date

import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import content_hash
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop, view
from tasks.evidence.ingest import intake_of

DAY = date(2026, 6, 1)
HEAD = "experiment,unit_id,segment,channel,arm,assigned_on,converted,conversions,revenue"


def row(unit: str, *more: str) -> str:
    return ",".join([f"spring,{unit},north,mail,treated,2026-05-01,1,1,5", *more])


def take(workspace: Workspace, name: str, *lines: str) -> DeliverySummary:
    path = workspace.inbox / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return deliver(intake_of(open_loop(workspace.root)), path)


def learned(workspace: Workspace) -> list[str]:
    frame = view(open_loop(workspace.root), DAY, ["units"])["units"]
    return sorted(frame["unit_id"].astype(str))


def privacy(workspace: Workspace, text: str) -> None:
    config = workspace.config.read_text(encoding="utf-8")
    bare = config.replace("\nrequire_consent = false", "").replace("\npurposes = []", "")
    workspace.config.write_text(bare.replace("[privacy]", f"[privacy]\n{text}"), encoding="utf-8")


CONSENT = f"{HEAD},consent,purpose"


def test_who_did_not_agree_is_stored_told_and_not_learned_from(fresh_workspace: Workspace) -> None:
    privacy(fresh_workspace, 'require_consent = true\npurposes = ["measurement"]')
    summary = take(
        fresh_workspace,
        "units.csv",
        CONSENT,
        row("a", "true", "measurement"),
        row("b", "0", "measurement"),
        row("c", "yes", "ads"),
        row("d", "perhaps", "measurement"),
        row("e", "", "measurement"),
    )
    assert (summary.received, summary.stored, summary.quarantined) == (5, 4, 1)
    assert dict(summary.rules) == {"not_true_or_false": 1}
    assert "2 rows without consent: stored, and not learned from." in summary.notes
    assert any("another purpose than measurement" in note for note in summary.notes)
    assert learned(fresh_workspace) == ["a"]


def test_consent_that_is_withdrawn_later_counts(fresh_workspace: Workspace) -> None:
    privacy(fresh_workspace, "require_consent = true")
    take(fresh_workspace, "units-1.csv", CONSENT, row("a", "1", ""), row("b", "1", ""))
    assert learned(fresh_workspace) == ["a", "b"]
    take(fresh_workspace, "units-2.csv", CONSENT, row("a", "0", ""))
    assert learned(fresh_workspace) == ["b"]


def test_without_the_section_all_is_as_before(fresh_workspace: Workspace) -> None:
    loop = open_loop(fresh_workspace.root)
    assert "privacy" not in loop.deciding_settings()
    summary = take(fresh_workspace, "units.csv", CONSENT, row("a", "0", ""), row("b", "1", ""))
    assert learned(fresh_workspace) == ["a", "b"]
    assert any("require_consent" in note for note in summary.notes)


def test_a_column_that_nobody_filled_changes_no_hash(fresh_workspace: Workspace) -> None:
    take(fresh_workspace, "units.csv", HEAD, row("a"))
    frame = view(open_loop(fresh_workspace.root), DAY, ["units"])["units"]
    bare = frame.drop(columns=["consent", "purpose"])
    assert content_hash(frame) == content_hash(bare)


@pytest.mark.parametrize("text", ["require_consent = true", 'purposes = ["measurement"]'])
def test_settings_that_decide_are_named(fresh_workspace: Workspace, text: str) -> None:
    before = open_loop(fresh_workspace.root).settings_hash
    privacy(fresh_workspace, text)
    assert open_loop(fresh_workspace.root).settings_hash != before
