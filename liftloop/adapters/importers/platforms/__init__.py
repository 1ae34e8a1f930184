"""The importers that come with LiftLoop, one declaration a platform and layout.

What is downloaded by hand (Ads Manager) and what an API or a pipeline tool writes are told apart by
their headers. Where a report has both a campaign's name and its id, the name is the label and the
id says which campaign it is.
"""

from __future__ import annotations

from liftloop.adapters.importers.platforms import (  # registers them
    meta,
    reddit,
    search,
    shops,
    social,
    stripe,
)

__all__ = ["meta", "reddit", "search", "shops", "social", "stripe"]
