"""The workspace's reports on the page: of decisions, of what the monitor saw, of models."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from liftloop.app.dashboard.acting import Visit

KINDS = {
    "decision": "Decisions: what moved and why, with curves",
    "triage": "What the monitor found",
    "data": "Drift of data (Evidently)",
    "features": "Drift of features (Evidently)",
    "predictions": "Predictions and errors (Evidently)",
}
HEIGHT = 1100  # pixels of the frame; the report scrolls in it


def draw_reports(visit: Visit) -> None:
    """Draw the report that is asked for (``?report=NAME``), the newest decision's by default."""
    folder = visit.workspace.reports
    found = sorted((p for p in folder.glob("*.html") if p.is_file()), key=_newest, reverse=True)
    if not found:
        st.info("No report yet: the first decision writes one.")
        return
    kinds = sorted({_kind(path) for path in found}, key=lambda kind: (kind != "decision", kind))
    wanted = st.query_params.get("report", "")
    asked = next((path for path in found if path.name == wanted), None)
    kind = st.selectbox(
        "Kind",
        kinds,
        index=kinds.index(_kind(asked)) if asked is not None else 0,
        format_func=lambda kind: KINDS.get(kind, kind.capitalize()),
    )
    names = [path.name for path in found if _kind(path) == kind]
    name = st.selectbox(
        "Report",
        names,
        index=names.index(wanted) if wanted in names else 0,
        format_func=lambda name: name.removesuffix(".html").removeprefix(f"{kind}-"),
    )
    text = (folder / name).read_text(encoding="utf-8")
    st.download_button("Download", text, file_name=name, mime="text/html")
    st.iframe(_whole(folder, text), height=HEIGHT)


def _kind(path: Path) -> str:
    return path.name.partition("-")[0]


def _newest(path: Path) -> tuple[str, str]:
    """By the day in the name."""
    return (path.name.partition("-")[2], path.name)


def _whole(folder: Path, text: str) -> str:
    """A report that stands by itself: Evidently's script lies beside it in the folder."""
    for script in folder.glob("evidently-*.js"):
        tag = f'src="{script.name}"'
        if tag in text:
            inline = script.read_text(encoding="utf-8").replace("</script", "<\\/script")
            text = text.replace(f"<script {tag}></script>", f"<script>{inline}</script>")
    return text
