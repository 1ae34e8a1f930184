"""What an alarm can be, what each asks for, and the evidence it stands on: immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from liftloop.core.policy import Cell

Numbers = Mapping[str, float | int | str | None]


class Cause(StrEnum):
    """Why the facts look different, in the order in which causes are ruled out."""

    FEED = "broken feed"
    SEASON = "season"
    EVENT = "known event"
    MIX = "mix shift"
    RESPONSE = "changed response"
    ATTRIBUTION = "changed attribution"
    NOISE = "noise"


class AlarmAct(StrEnum):
    """What an alarm asks of the loop."""

    PAUSE = "pause cells"
    RETRAIN = "retrain"
    NOTHING = "nothing"


ACT_OF: Mapping[Cause, AlarmAct] = {
    Cause.FEED: AlarmAct.PAUSE,
    Cause.SEASON: AlarmAct.NOTHING,
    Cause.EVENT: AlarmAct.NOTHING,
    Cause.MIX: AlarmAct.RETRAIN,
    Cause.RESPONSE: AlarmAct.RETRAIN,
    Cause.ATTRIBUTION: AlarmAct.NOTHING,
    Cause.NOISE: AlarmAct.NOTHING,
}
RANK = {cause: place for place, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause that was found, or one thing that was seen and means nothing.

    Attributes
    ----------
    name : what kind of it, such as ``late``, ``unit``, ``down``, ``promotion``
    sentence : what was seen, in plain words with its numbers
    subjects : what it is about: channels, segments, or a feed
    since : the day it seems to have begun, where that is known
    cells : the cells that depend on it; empty where it concerns all or none
    evidence : the numbers behind the sentence
    learns : whether a model can be trained; a training is not asked for else
    """

    cause: Cause
    name: str
    sentence: str
    subjects: tuple[str, ...] = ()
    since: date | None = None
    cells: tuple[Cell, ...] = ()
    evidence: Numbers = field(default_factory=dict)
    learns: bool = True

    @property
    def act(self) -> AlarmAct:
        act = ACT_OF[self.cause]
        return AlarmAct.NOTHING if act is AlarmAct.RETRAIN and not self.learns else act

    @property
    def identity(self) -> str:
        """The same for the same trouble on another day: what is told once while it stands."""
        return " | ".join((self.cause.value, self.name, ", ".join(sorted(self.subjects))))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "cause": self.cause.value,
            "name": self.name,
            "act": self.act.value,
            "identity": self.identity,
            "sentence": self.sentence,
            "subjects": list(self.subjects),
            "since": self.since.isoformat() if self.since else None,
            "cells": [[cell.segment, cell.channel] for cell in self.cells],
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Triage:
    """The verdict: ``main`` is the first cause that could not be ruled out, ``findings`` are all
    that were seen, the gravest first; ``noted`` says what could not be looked at, and what may
    mislead. Without an alarm ``main`` is None."""

    as_of: date
    main: Finding | None
    findings: tuple[Finding, ...] = ()
    noted: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        """Whether something was found that is more than noise."""
        return self.main is not None and self.main.cause is not Cause.NOISE

    @property
    def retrain(self) -> bool:
        return any(found.act is AlarmAct.RETRAIN for found in self._sound())

    @property
    def broken(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.cause is Cause.FEED)

    @property
    def paused(self) -> dict[Cell, str]:
        """Cell -> why its budget should not move."""
        return {cell: found.sentence for found in self.broken for cell in found.cells}

    def _sound(self) -> tuple[Finding, ...]:
        """What is asked for: a broken feed is mended before anything is learned from it."""
        return () if self.broken else self.findings

    @property
    def summary(self) -> str:
        """One paragraph for a person: what it is, and what is done about it."""
        if self.main is None:
            return "No alarm: the last weeks look like the weeks before."
        acts = {
            AlarmAct.PAUSE: "The cells that depend on it do not move until it is mended.",
            AlarmAct.RETRAIN: "The model is trained anew.",
            AlarmAct.NOTHING: "Nothing needs to be done."
            if self.main.learns
            else "No model can be trained: there is no holdout, user-level test or lift test.",
        }
        lead = f"{self.main.cause.value[0].upper()}{self.main.cause.value[1:]}"
        return f"{lead}: {self.main.sentence} {acts[self.main.act]}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "as_of": self.as_of.isoformat(),
            "alarm": self.alarm,
            "cause": self.main.cause.value if self.main else None,
            "act": self.main.act.value if self.main else AlarmAct.NOTHING.value,
            "retrain": self.retrain,
            "summary": self.summary,
            "findings": [found.as_dict() for found in self.findings],
            "noted": list(self.noted),
        }
