from __future__ import annotations

import pytest

from liftloop.app.dashboard import caching


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the page waits for the audit trail's check."""
    monkeypatch.setattr(caching, "PATIENCE", 60.0)
