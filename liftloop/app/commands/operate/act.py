"""approve, reject, rollback, pause, resume: what a person decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from unicodedata import normalize

import typer

from liftloop.app.options import ByOption, WorkspaceOption, opened, say

WaitingArgument = Annotated[
    str,
    typer.Argument(
        help="The decision that waits; liftloop budgets --decisions lists them. Or the proposed "
        "total that liftloop budgets names."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: liftloop approve d-1a2b3c4d5e6f --by ana")(approve)
    app.command(epilog="Example: liftloop reject d-1a2b3c4d5e6f --reason 'sale on Monday'")(reject)
    app.command(epilog="Example: liftloop rollback --by ana --reason 'stock ran out'")(rollback)
    app.command(epilog="Example: liftloop pause --channel social --reason 'tracking broken'")(pause)
    app.command(epilog="Example: liftloop stop --reason 'tracking is down'")(stop)
    app.command(epilog="Example: liftloop resume --channel social")(resume)


def approve(
    context: typer.Context,
    decision: WaitingArgument,
    workspace: WorkspaceOption = Path("workspace"),
    plan: Annotated[
        str | None,
        typer.Option(help="The plan you looked at (or how it begins): no other one is approved."),
    ] = None,
    by: ByOption = "operator",
) -> None:
    """Approve a decision that a rule holds for a person, whose budgets go out; or the total that
    the loop proposes, which the next cycle plans with."""
    place = opened(workspace)
    from tasks.decision.total_proposals import is_total
    from tasks.flow_outcomes import tell_of_approval
    from tasks.operate.acts import approve as act

    say(act(str(place.root), decision, actor=by, caller=context.obj, plan=plan))
    if not is_total(decision):  # a total has no budgets of its own to go out
        tell_of_approval(str(place.root), decision)


def reject(
    decision: WaitingArgument,
    workspace: WorkspaceOption = Path("workspace"),
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    by: ByOption = "operator",
) -> None:
    """Reject a decision or a total that waits for a person; what is in force stays."""
    place = opened(workspace)
    from tasks.operate.acts import reject as act

    say(act(str(place.root), decision, reason=reason, actor=by))


def rollback(
    to: Annotated[
        str | None,
        typer.Option(
            help="An earlier decision or policy version (liftloop budgets --decisions lists them; "
            "with --model: an earlier champion's training or version); default: what was before."
        ),
    ] = None,
    model: Annotated[
        bool, typer.Option("--model", help="Take back the model in force, not the budgets.")
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    by: ByOption = "operator",
) -> None:
    """Put earlier budgets back in force, exactly, and end a running rollout; or, with --model, an
    earlier model."""
    place = opened(workspace)
    if model:
        from tasks.model.model_rollback import roll_back_model

        say(roll_back_model(str(place.root), to=to, reason=reason, actor=by))
        return
    from tasks.operate.budget_acts import roll_back as act

    say(act(str(place.root), to=to, reason=reason, actor=by))


RolloutOption = Annotated[
    bool, typer.Option("--rollout", help="The rollout under way, instead of cells.")
]


def pause(
    workspace: WorkspaceOption = Path("workspace"),
    segment: Annotated[str, typer.Option(help="A segment by its name; default: all.")] = "*",
    channel: Annotated[str, typer.Option(help="A channel by its name; default: all.")] = "*",
    rollout: RolloutOption = False,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    by: ByOption = "operator",
) -> None:
    """Stop budget moves for some cells, or all, or hold a rollout where it is. The rest of the loop
    goes on, and a failing guardrail still takes a paused rollout back."""
    place = opened(workspace)
    from tasks.operate.acts import pause as act
    from tasks.operate.acts import pause_rollout

    if rollout:
        say(pause_rollout(str(place.root), reason=reason, actor=by))
    else:
        cells = _cells(segment, channel)
        say(act(str(place.root), **cells, reason=reason, actor=by))


def stop(
    workspace: WorkspaceOption = Path("workspace"),
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    by: ByOption = "operator",
) -> None:
    """Stop everything: no budget moves, and the rollout stays where it is, until liftloop resume
    and liftloop resume --rollout. Guardrails still take a harmful rollout back."""
    place = opened(workspace)
    from tasks.operate.acts import stop_all

    say(stop_all(str(place.root), reason=reason, actor=by))


def resume(
    workspace: WorkspaceOption = Path("workspace"),
    segment: Annotated[str, typer.Option(help="As it was paused; default: all.")] = "*",
    channel: Annotated[str, typer.Option(help="As it was paused; default: all.")] = "*",
    rollout: RolloutOption = False,
    by: ByOption = "operator",
) -> None:
    """Lift a pause."""
    place = opened(workspace)
    from tasks.operate.acts import resume as act
    from tasks.operate.acts import resume_rollout

    if rollout:
        say(resume_rollout(str(place.root), actor=by))
    else:
        say(act(str(place.root), **_cells(segment, channel), actor=by))


def _cells(segment: str, channel: str) -> dict[str, str]:
    """The names as facts spell them: however their letters were typed, they are the same cells."""
    given = {"segment": segment, "channel": channel}
    return {name: normalize("NFC", text.strip()) for name, text in given.items()}
