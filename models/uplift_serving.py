"""The module that models of the version before are opened by: their folders name it. Its content is
in :mod:`models.uplift.serving`."""

from __future__ import annotations

from models.uplift.serving import _load_pyfunc

__all__ = ["_load_pyfunc"]
