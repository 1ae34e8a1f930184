"""Libraries of the operating system that no Python package brings along."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from liftloop.core.errors import ConfigurationError

OPENMP = "libgomp.so.1"


def require_system_libraries() -> None:
    """Check that LightGBM will find OpenMP, before anything that needs it is imported.

    Raises
    ------
    ConfigurationError
        With the package to install, when it is not there.
    """
    if sys.platform != "linux":  # elsewhere OpenMP has other names
        return
    # OpenMP reads this as it is loaded, which is now (liftloop/app/environment.py says why).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _loads(OPENMP):
        return
    # LightGBM may have been built to find it elsewhere, as conda's is: ask it, too.
    import importlib.util

    package = importlib.util.find_spec("lightgbm")
    places = (package.submodule_search_locations or []) if package is not None else []
    if any(_loads(str(path)) for at in places for path in Path(at).rglob("lib_lightgbm.so")):
        return
    raise ConfigurationError(
        f"LightGBM needs the system's OpenMP library ({OPENMP}), which is not installed.",
        fix="apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora, RHEL) or "
        "apk add libgomp (Alpine).",
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
