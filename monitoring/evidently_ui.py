"""Evidently's own user interface, in a process that knows our metric, for reading on this machine.

``python -m monitoring.evidently_ui FOLDER PORT``
"""

from __future__ import annotations

import secrets
import sys

from monitoring import evidently_forecast, evidently_slope

OUR_METRICS = (evidently_forecast, evidently_slope)  # snapshots that hold them need them loaded

HOST = "127.0.0.1"


def main() -> None:
    """Serve the reports in a folder. A request that names another host, as one that a page
    elsewhere makes through a name of its own, is refused; what would change a report needs a
    password that nobody is told."""
    import uvicorn
    from evidently.ui.service.app import create_app, get_config
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    folder, port = sys.argv[1], int(sys.argv[2])
    config = get_config(workspace=folder, secret=secrets.token_urlsafe(32))
    app = TrustedHostMiddleware(create_app(config), allowed_hosts=[HOST, "localhost"])
    uvicorn.run(app, host=HOST, port=port)


if __name__ == "__main__":
    main()
