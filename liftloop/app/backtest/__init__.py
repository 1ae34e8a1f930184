"""``liftloop backtest``: the production decision code, week after week, on markets whose truth is
known to the scorer alone. :func:`run_seed` runs one of them."""

from liftloop.app.backtest.runs import SeedRun, run_seed

__all__ = ["SeedRun", "run_seed"]
