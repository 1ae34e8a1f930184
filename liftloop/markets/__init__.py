"""Markets: simulated worlds with a known truth, to prove the loop against."""

from liftloop.markets.hill import HillMarket

__all__ = ["HillMarket"]
