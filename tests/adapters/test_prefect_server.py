"""Whether a Prefect server of the user's own is named, asked as cheaply as can be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

API = "http://127.0.0.1:9/api"
CODE = """
import sys
from liftloop.adapters.prefect_server import server_named
print(server_named(), "prefect" in sys.modules)
"""
ROOT = Path(__file__).resolve().parents[2]
PROFILE = f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "{API}"\n'
OTHER_PROFILE = f'active = "bare"\n[profiles.bare]\n[profiles.own]\nPREFECT_API_URL = "{API}"\n'


@pytest.mark.parametrize(
    ("variables", "file", "text", "named", "asks_prefect"),
    [
        ({}, "", "", False, False),
        ({"PREFECT_API_URL": API}, "", "", True, False),
        ({}, "home/.prefect/profiles.toml", PROFILE, True, True),
        ({}, "home/.prefect/profiles.toml", OTHER_PROFILE, False, True),
        ({}, "home/.prefect/profiles.toml", "[profiles.bare]\n", False, False),
        ({"PREFECT_HOME": "elsewhere"}, "elsewhere/profiles.toml", PROFILE, True, True),
        ({}, ".env", f"PREFECT_API_URL={API}\n", True, True),
        ({}, "prefect.toml", f'[api]\nurl = "{API}"\n', True, True),
        ({}, "pyproject.toml", f'[tool.prefect.api]\nurl = "{API}"\n', True, True),
        ({}, "pyproject.toml", '[project]\nname = "shop"\n', False, False),
    ],
)
def test_a_server_is_found_where_prefect_finds_it(
    tmp_path: Path,
    variables: Mapping[str, str],
    file: str,
    text: str,
    named: bool,
    asks_prefect: bool,
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    kept = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    environment = {**kept, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(named), str(asks_prefect)]
