"""The deployment that delivers what is queued, with its webhook in a real Secret block."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prefect.blocks.system import Secret

from flows.notify import notify
from liftloop.adapters.ledger.records import session
from liftloop.adapters.notify import queue_message
from liftloop.reporting.messages.decision_message import notice
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tests.doubles.slack import running

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_what_is_queued_goes_out_without_a_decision(
    shop: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    text = shop.config.read_text(encoding="utf-8")
    words = '[notify]\nsecret_block = "shop-slack"'
    shop.config.write_text(text.replace("[notify]", words), encoding="utf-8")
    loop = open_loop(shop.root)
    for title in ("one", "two"):
        with session(loop.engine) as db:
            words_of = notice(title=title, paragraphs=["Because."])
            now = datetime(2026, 3, 2, tzinfo=UTC)
            queue_message(db, key=title, kind="move", words=words_of, at=now)
    said = notify(str(shop.root))
    assert said["waiting"] == 2  # there is no such block yet
    assert "shop-slack cannot be read" in said["problem"]
    with running() as (slack, address):
        Secret(value=address).save("shop-slack")
        said = notify(str(shop.root))
        assert (said["delivered"], said["waiting"], said["problem"]) == (2, 0, "")
        assert notify(str(shop.root))["delivered"] == 0
        assert slack.titles == ["one", "two"]
    assert "sEcReT" not in caplog.text
