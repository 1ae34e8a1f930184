"""The errors LiftLoop raises. Each carries what a caller needs, and the exit status the CLI gives.

Expected outcomes (a hold, a guardrail that does not pass) are verdicts, not errors.
"""

from __future__ import annotations

from collections.abc import Sequence


class LiftLoopError(Exception):
    """The root of every error of ours. ``exit_status`` follows the command-line contract."""

    exit_status = 2


class ConfigurationError(LiftLoopError):
    """The workspace or its configuration cannot be used as it is."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem} Fix: {fix}")
        self.problem = problem
        self.fix = fix


class DamagedWorkspace(ConfigurationError):
    """Facts, a model or a copy in the archive are not what the ledger recorded of them.
    ``is_altered``: they are there, and were changed."""

    def __init__(
        self, problem: str, *, fix: str = "run liftloop repair.", is_altered: bool = False
    ) -> None:
        super().__init__(problem, fix=fix)
        self.is_altered = is_altered


class RefusedFile(LiftLoopError):
    """A delivered file that is refused whole: nothing of it is stored."""

    def __init__(self, file: str, problem: str, *, fix: str, column: str | None = None) -> None:
        where = f"{file}, column {column!r}" if column else file
        super().__init__(f"Refused {where}: {problem} Fix: {fix}")
        self.file = file
        self.column = column
        self.problem = problem
        self.fix = fix


class InfeasibleBudget(LiftLoopError):
    """No budget satisfies all rules. ``conflicts`` is a smallest set that cannot hold together."""

    exit_status = 1

    def __init__(self, conflicts: Sequence[str]) -> None:
        super().__init__(
            "No budget satisfies these rules together: " + "; ".join(conflicts) + ". "
            "Nothing was written. Relax one of them."
        )
        self.conflicts = tuple(conflicts)


class InsufficientEvidence(LiftLoopError):
    """There is nothing to learn a response from yet."""

    exit_status = 1

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem} {fix}")
        self.problem = problem
        self.fix = fix


class Declined(LiftLoopError):
    """A request the loop's own rules forbid (a decision that does not wait, a day already
    passed...)."""

    exit_status = 1


class NotAllowed(Declined):
    """A person whose role does not allow what they ask for, or who did not sign in."""


class UnknownName(Declined):
    """A request that names what is not there: a decision, a policy, a model. Bad usage, since no
    rule forbade anything."""

    exit_status = 2


class OutsideServiceFailed(LiftLoopError):
    """A database, a broker, a webhook or an ad platform did not do its part."""

    exit_status = 3

    def __init__(self, service: str, problem: str, *, fix: str) -> None:
        super().__init__(f"{service}: {problem} Fix: {fix}")
        self.service = service
        self.problem = problem
        self.fix = fix
