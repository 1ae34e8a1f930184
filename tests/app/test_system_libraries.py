"""On a bare machine the first words name what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from liftloop.app import system_libraries
from liftloop.app.system_libraries import OPENMP, require_system_libraries
from liftloop.core.errors import ConfigurationError

HIDDEN = f"""
import ctypes, sys
load = ctypes.CDLL
def bare(name, *rest, **more):
    if name is not None and ("gomp" in str(name) or "lightgbm" in str(name)):
        raise OSError("{OPENMP}: cannot open shared object file")
    return load(name, *rest, **more)
ctypes.CDLL = bare
from liftloop.app.cli import main
sys.argv = ["liftloop", "demo"]
try:
    main()
finally:
    heavy = {{"lightgbm", "prefect", "mlflow", "evidently"}} & set(sys.modules)
    print("imported:", sorted(heavy))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="OpenMP has other names there")


def test_without_openmp_one_sentence_names_the_package_before_anything_is_imported() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HIDDEN], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 2
    assert "Fix: apt-get install libgomp1" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stdout == "imported: []\n"


def test_where_lightgbm_brings_its_own_openmp_nothing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_libraries, "OPENMP", "libgomp-that-is-not-there.so.1")
    require_system_libraries()
    monkeypatch.setattr(system_libraries, "_loads", lambda library: False)
    with pytest.raises(ConfigurationError, match="libgomp1"):
        require_system_libraries()
