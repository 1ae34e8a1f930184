"""Who is at the page, and what they may do there: the functions of the command line, with a reason.

What a button does is bound when it is drawn: an approval is of the plan that was on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

import streamlit as st

from liftloop.adapters.ledger.decisions import budgets_in_force, decision
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.adapters.pasteable import pasteable
from liftloop.app.dashboard.wording import md
from liftloop.core.access.roles import Action, Caller, audit_name, may, who_may
from liftloop.core.errors import LiftLoopError, NotAllowed
from liftloop.core.policy import Cell, Policy
from liftloop.reporting.rendering import one_line
from liftloop.reporting.status import Notice
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace

MOST_CHARACTERS = 500  # of a reason


@dataclass(frozen=True, slots=True)
class Visit:
    """An opened page: the workspace, and who looks at it."""

    workspace: Workspace
    settings: Settings
    caller: Caller

    def may(self, action: Action) -> bool:
        return may(self.caller.role, action)

    def decision_in_force(self) -> str:
        """The id of the decision whose budgets hold; "" before the first one."""
        now = self._now()
        return now[1].id if now else ""

    def cells(self) -> tuple[Cell, ...]:
        """The cells with a budget in force; none before the first decision."""
        now = self._now()
        return now[0].cells if now else ()

    def _now(self) -> tuple[Policy, Decision] | None:
        with session(open_ledger(str(self.settings.ledger_url)), read_only=True) as db:
            return budgets_in_force(db, before=date.max)


def who(settings: Settings) -> Caller | None:
    """Who is at the page; None where they have to sign in first."""
    from tasks.operate.access import caller

    header = settings.access.sign_in_header
    named = (st.context.headers.get(header) or "") if header else ""
    try:
        return caller(settings, token=st.session_state.get("token", ""), proxied_name=named)
    except NotAllowed:
        return None


def ask_to_sign_in(workspace: Workspace, folder: str) -> None:
    """The form to sign in, and nothing else of the workspace."""
    from tasks.context import open_loop
    from tasks.operate.access import sign_in

    st.title(f"LiftLoop · {md(folder)}", anchor=False)
    with st.form("sign in", width=420):
        name = st.text_input("Name", autocomplete="username", max_chars=100)
        password = st.text_input("Password", type="password", autocomplete="current-password")
        asked = st.form_submit_button("Sign in", type="primary")
    if not asked:
        return
    try:
        st.session_state["token"] = sign_in(open_loop(workspace.root), name, password)
    except NotAllowed as error:
        st.error(md(str(error)))
        return
    st.rerun()


def footer(visit: Visit) -> None:
    """Who is signed in; where nobody has to, how to change that."""
    if visit.caller.is_anyone:
        words = (
            "Open: whoever can reach this page may act on it. The first account changes that: "
            "`liftloop accounts add NAME --role admin`"
        )
        st.markdown(f":small[{pasteable(words, visit.workspace, anywhere=True)}]")
        return
    st.caption(f"Signed in as {md(visit.caller.name)} ({visit.caller.role.value}).")
    if "token" in st.session_state:
        st.button("Sign out", on_click=_sign_out, args=(visit,))


def _sign_out(visit: Visit) -> None:
    from tasks.context import open_loop
    from tasks.operate.access import sign_out

    sign_out(open_loop(visit.workspace.root), st.session_state.pop("token"))


def act_on_notice(visit: Visit, notice: Notice) -> None:
    """What a person can do about a notice: buttons where the page has them, else the command."""
    if notice.subject:
        _decide(visit, notice.subject)
    elif notice.command.startswith("liftloop resume"):
        _resume(visit, notice.command)
    elif notice.command:
        _show_command(visit, notice.command)


def _show_command(visit: Visit, command: str) -> None:
    """A command to copy; as code, so that no name in it marks anything up."""
    shown = pasteable(command, visit.workspace, anywhere=True)
    st.code(shown, language=None, wrap_lines=True)


def _decide(visit: Visit, id: str) -> None:
    """Approve or reject a plan that waits; the plan is the one that is shown."""
    from tasks.operate.acts import approve, reject

    with session(open_ledger(str(visit.settings.ledger_url)), read_only=True) as db:
        found = decision(db, id=id)
        plan = found.policy_version if found is not None else ""
    if not visit.may(Action.APPROVE):
        st.caption(f"To approve or reject it takes {who_may(Action.APPROVE)}.")
        return
    reason = _reason(f"reason {id}")
    place = str(visit.workspace.root)
    yes, no, _ = st.columns([1, 1, 3])
    with yes:
        _button(
            visit,
            "Approve",
            Action.APPROVE,
            lambda actor, why: approve(place, id, actor=actor, caller=visit.caller, plan=plan),
            key=f"approve {id} {plan}",
            reason=reason,
        )
    with no:
        _button(
            visit,
            "Reject",
            Action.APPROVE,
            lambda actor, why: reject(place, id, reason=why, actor=actor),
            key=f"reject {id}",
            reason=reason,
        )


def _resume(visit: Visit, command: str) -> None:
    """Lift the pause that a command lifts."""
    import shlex

    from tasks.operate.acts import resume, resume_rollout

    words = shlex.split(command)
    given = dict(zip(words[2::2], words[3::2], strict=False))
    place = str(visit.workspace.root)

    def act(actor: str, why: str) -> str:
        if "--rollout" in words:
            return resume_rollout(place, actor=actor)
        segment, channel = given.get("--segment", "*"), given.get("--channel", "*")
        return resume(place, segment=segment, channel=channel, actor=actor)

    if visit.may(Action.PAUSE):
        _button(visit, "Resume", Action.PAUSE, act, key=command)
    else:
        _show_command(visit, command)


def act_on_all(visit: Visit) -> None:
    """Pause, roll back, stop everything: each with a reason."""
    from tasks.operate.acts import pause, stop_all
    from tasks.operate.budget_acts import roll_back

    if not any(visit.may(a) for a in (Action.PAUSE, Action.ROLL_BACK, Action.STOP_ALL)):
        return
    place = str(visit.workspace.root)
    with st.popover("Pause, roll back or stop"):
        reason = _reason("reason for all")
        if visit.may(Action.PAUSE):
            cells_now = visit.cells()
            segment = st.selectbox("Segment", ["all", *sorted({c.segment for c in cells_now})])
            channel = st.selectbox("Channel", ["all", *sorted({c.channel for c in cells_now})])
            cells = {
                "segment": "*" if segment == "all" else segment,
                "channel": "*" if channel == "all" else channel,
            }
            _button(
                visit,
                "Pause these budgets",
                Action.PAUSE,
                lambda actor, why: pause(place, **cells, reason=why, actor=actor),
                key="pause",
                reason=reason,
            )
        if visit.may(Action.ROLL_BACK):
            _button(
                visit,
                "Roll back to the budgets before",
                Action.ROLL_BACK,
                lambda actor, why: roll_back(place, to=None, reason=why, actor=actor),
                key="roll back",
                reason=reason,
            )
        if visit.may(Action.STOP_ALL):
            _button(
                visit,
                "Stop everything",
                Action.STOP_ALL,
                lambda actor, why: stop_all(place, reason=why, actor=actor),
                key="stop all",
                reason=reason,
            )


def _reason(key: str) -> str:
    """The key under which a typed reason is found when a button is pressed."""
    st.text_input("Reason", key=key, max_chars=MOST_CHARACTERS, placeholder="for the audit trail")
    return key


def _button(
    visit: Visit,
    label: str,
    action: Action,
    act: Callable[[str, str], str],
    *,
    key: str,
    reason: str = "",
) -> None:
    st.button(
        label,
        key=key,
        type="primary" if action == Action.APPROVE and label == "Approve" else "secondary",
        on_click=partial(perform, visit, action, act, reason),
    )


def perform(visit: Visit, action: Action, act: Callable[[str, str], str], reason: str = "") -> None:
    """Do what a button is for, as whoever is signed in at this moment; what came of it is said at
    the top of the page. ``act`` takes the name for the audit trail and the reason."""
    why = one_line(str(st.session_state.get(reason, ""))).strip() if reason else ""
    if reason and not why:
        st.session_state["said"] = (False, "Give a reason: it is kept in the audit trail.")
        return
    caller = who(visit.settings)
    try:
        if caller is None:
            raise NotAllowed("Your sign-in has ended: sign in again.")
        st.session_state["said"] = (True, act(audit_name(caller, action), why))
    except LiftLoopError as error:
        st.session_state["said"] = (False, str(error))
