"""Evidently's own ``ui`` command, in a process that knows our metric."""

from __future__ import annotations

import sys

import monitoring.evidently_slope  # noqa: F401  (a snapshot that holds it cannot be read without)


def main() -> None:
    """As ``evidently ui``, with the arguments given to this module."""
    from evidently.cli import app

    sys.argv = ["evidently", "ui", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
