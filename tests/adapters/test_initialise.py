from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.initialise import default_configuration, init_workspace
from liftloop.adapters.ledger.records import is_current, open_ledger
from liftloop.core.errors import ConfigurationError
from liftloop.settings.schema import SUPERSEDED, Rollout, Settings, load_settings, parse_settings
from liftloop.settings.workspace import Workspace

# A line whose "#" stands right before a key or a table is a setting that is off.
OFF = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if model is Rollout and name in SUPERSEDED:  # read, never written
            continue
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        for kind in inner:
            yield from keys(kind)
        if not inner:
            yield name


def _kinds(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def test_the_configuration_file_is_exactly_the_defaults() -> None:
    values = tomllib.loads(default_configuration())
    assert parse_settings(values, source="default.toml") == Settings()


def test_the_configuration_file_names_every_key() -> None:
    text = default_configuration()
    missing = [k for k in keys(Settings) if not re.search(rf"^#?{k} = ", text, re.MULTILINE)]
    assert missing == []


def test_every_setting_that_is_off_can_be_switched_on() -> None:
    on = OFF.sub("", default_configuration())
    settings = parse_settings(tomllib.loads(on), source="all on")
    assert settings.budget.total is not None
    assert len(settings.budget.limits) == len(settings.budget.groups) == 1
    assert len(settings.account.rates) == len(settings.budget.frozen) == 1


def test_a_new_workspace_has_everything_and_works(tmp_path: Path) -> None:
    made = init_workspace(tmp_path / "workspace")
    assert made.config.read_text(encoding="utf-8") == default_configuration()
    assert all(folder.is_dir() for folder in made.folders)
    assert is_current(open_ledger(str(load_settings(made).ledger_url)))
    assert not (made.registry / "mlflow.db").exists()  # the first training makes it
    findings = {finding.check: finding for finding in diagnose(made)}
    assert findings["model registry"].ok is None and findings["model registry"].fix


def test_making_a_workspace_again_keeps_what_is_there(fresh_workspace: Workspace) -> None:
    changed = default_configuration().replace("cycle_days = 7", "cycle_days = 14")
    fresh_workspace.config.write_text(changed, encoding="utf-8")
    fresh_workspace.reports.rmdir()
    init_workspace(fresh_workspace.root)
    assert load_settings(fresh_workspace).cycle_days == 14
    assert fresh_workspace.reports.is_dir()


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("dear")
    with pytest.raises(ConfigurationError, match=r"holds other things \(thesis.doc\)"):
        init_workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_file_is_no_place_for_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigurationError, match="is a file"):
        init_workspace(tmp_path / "x")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        init_workspace(tmp_path / "x" / "below")


@pytest.mark.parametrize("name", ["what?", "a#b", "50%"])
def test_a_path_no_database_address_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot hold"):
        init_workspace(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
