"""Steps: tasks inside a flow run, plain functions with the same second tries elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tasks.step import Retries, in_flow_run, leave_page, step

PASSING = Retries((1, 2), only=lambda error: isinstance(error, OSError))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for."""
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


def failing(*errors: Exception) -> list[Exception]:
    return list(reversed(errors))


def test_outside_of_a_flow_run_a_step_is_tried_again_after_the_same_waits(
    waits: list[float],
) -> None:
    errors = failing(OSError("away"), OSError("away"))

    @step("take", retries=PASSING)
    def take(amount: int, *, twice: bool) -> int:
        """Takes."""
        if errors:
            raise errors.pop()
        return amount * (1 + twice)

    assert take(4, twice=True) == 8
    assert waits == [1, 2]
    assert (take.__name__, take.__doc__) == ("take", "Takes.")


def test_the_last_error_reaches_the_caller_and_others_are_not_tried_again(
    waits: list[float],
) -> None:
    errors = failing(*[OSError(str(n)) for n in range(3)], ValueError("bad"))

    @step("fail", retries=PASSING)
    def fail() -> None:
        raise errors.pop()

    with pytest.raises(OSError, match="2"):
        fail()
    assert waits == [1, 2]
    with pytest.raises(ValueError, match="bad"):
        fail()
    assert waits == [1, 2]


def test_a_wait_varies_by_its_jitter_alone(waits: list[float]) -> None:
    errors = failing(*[OSError("away")] * 2)

    @step("fail", retries=Retries((1, 2), jitter=0.5))
    def fail() -> None:
        if errors:
            raise errors.pop()

    fail()
    first, second = waits
    assert 1 <= first <= 1.5
    assert 2 <= second <= 3


@pytest.mark.usefixtures("prefect_server")
def test_inside_a_flow_run_a_step_is_a_task_run_with_its_name_and_tries() -> None:
    from prefect import flow
    from prefect.context import TaskRunContext

    errors = failing(OSError("away"))

    @step("take in", run_name="take in {path}", retries=Retries((0,), only=PASSING.only))
    def take_in(path: str) -> tuple[str, int]:
        assert in_flow_run()
        leave_page(f"# {path}", workspace="shop", key="page", description="What came in")
        if errors:
            raise errors.pop()
        run = TaskRunContext.get()
        assert run is not None
        return run.task_run.name, run.task_run.run_count

    @flow
    def one() -> tuple[str, int]:
        return take_in("a.csv")

    assert one() == ("take in a.csv", 2)
    assert not in_flow_run()


def test_steps_outside_of_a_flow_run_do_not_import_prefect() -> None:
    code = (
        "import sys; from tasks.step import leave_page, step\n"
        "step('s')(lambda: leave_page('# a', workspace='w', key='k', description='d'))()\n"
        "sys.exit('prefect' in sys.modules)"
    )
    environment = {n: v for n, v in os.environ.items() if n != "PREFECT_API_URL"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
