from __future__ import annotations

import sys

import pytest

from liftloop.app.dashboard import caching


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the page waits for the audit trail's check."""
    monkeypatch.setattr(caching, "PATIENCE", 60.0)


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit runs a page as ``__main__``, which processes started later would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
