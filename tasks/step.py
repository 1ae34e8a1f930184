"""Steps of the flows: inside a flow run a task of Prefect's, anywhere else a plain function.

A command that needs no server runs the same steps with the same second tries, and Prefect is not
even imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from liftloop.adapters.pasteable import pasteable
from liftloop.settings.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Retries:
    """Second tries of a step that failed.

    Attributes
    ----------
    delays
        Seconds to wait before each further try.
    jitter
        By which share of itself a wait may vary.
    only
        Which errors are worth another try; None: all.
    """

    delays: tuple[float, ...]
    jitter: float = 0.0
    only: Callable[[BaseException], bool] | None = None


NO_RETRIES = Retries(())


class Step(Generic[P, R]):
    """A function, ``fn``, that is a task inside a flow run; made by :func:`step`."""

    __name__: str

    def __init__(
        self, fn: Callable[P, R], *, name: str, run_name: str | None, retries: Retries
    ) -> None:
        self.fn, self.name, self.run_name, self.retries = fn, name, run_name, retries
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if in_flow_run():
            found: R = self.task(*args, **kwargs)
            return found
        if not self.retries.delays:
            return self.fn(*args, **kwargs)
        tried: R = _trying_again(self.retries)(self.fn, *args, **kwargs)
        return tried

    @cached_property
    def task(self) -> Any:
        """The step as Prefect's task."""
        from prefect import task

        only = self.retries.only
        made: Any = task  # its overloads know no wait of 0 seconds beside a list of waits
        return made(
            self.fn,
            name=self.name,
            task_run_name=self.run_name,
            retries=len(self.retries.delays),
            retry_delay_seconds=list(self.retries.delays) or 0,
            retry_jitter_factor=self.retries.jitter or None,
            retry_condition_fn=None if only is None else lambda _, __, state: only(_error(state)),
        )


def step(
    name: str, *, run_name: str | None = None, retries: Retries = NO_RETRIES
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step of this name. ``run_name`` may hold parameters, as ``{path}``."""
    return lambda fn: Step(fn, name=name, run_name=run_name, retries=retries)


def in_flow_run() -> bool:
    """Whether a run of Prefect's calls this."""
    context: Any = sys.modules.get("prefect.context")
    return context is not None and bool(
        context.FlowRunContext.get() or context.TaskRunContext.get()
    )


def leave_page(markdown: str, *, workspace: str, key: str, description: str) -> None:
    """Leave a page with the flow run, on the server that records it; outside of one, nowhere."""
    if in_flow_run():
        from prefect.artifacts import create_markdown_artifact

        page = pasteable(markdown, Workspace(Path(workspace)), anywhere=True)
        create_markdown_artifact(page, key=key, description=description)


def _error(state: Any) -> BaseException:
    """What a failed run ended with."""
    try:
        state.result()
    except Exception as error:
        return error
    return RuntimeError(str(state))


def _trying_again(retries: Retries) -> Any:
    from tenacity import (
        Retrying,
        retry_if_exception,
        stop_after_attempt,
        wait_chain,
        wait_fixed,
        wait_random,
    )

    waits = [wait_fixed(s) + wait_random(0, s * retries.jitter) for s in retries.delays]
    return Retrying(
        stop=stop_after_attempt(len(retries.delays) + 1),
        wait=wait_chain(*waits),
        retry=retry_if_exception(retries.only or (lambda error: isinstance(error, Exception))),
        reraise=True,
    )
