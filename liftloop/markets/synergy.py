"""A market whose channels meddle with each other: one lifts another, and two eat each other."""

from __future__ import annotations

from liftloop.markets.hill import HillMarket
from liftloop.markets.streams import Array


class SynergyMarket(HillMarket):
    """In every segment, with f the steady response of a channel alone:

    * ``video`` lifts ``search``: together they earn  f_search u lift  more, where u = x / (K + x)
      of video's spend;
    * ``social`` and ``display`` reach the same people: together they earn  f_s f_d / (f_s + f_d)
      x eaten  less than the sum.

    Truth gives each of a pair half of what only both can do (the Shapley value), so that the cells
    sum to the whole. A holdout shows what is lost without a channel: its own and all of the joint
    part. Platforms claim by the truth's share.
    """

    lifting, lifted, lift = "video", "search", 0.6
    eaters, eaten = ("social", "display"), 0.7

    def contributions(self, spend: Array) -> tuple[Array, Array]:
        alone = self.response(spend)
        which = {name: n for n, name in enumerate(self.constants.channels)}
        video, search = which[self.lifting], which[self.lifted]
        one, other = (which[name] for name in self.eaters)
        usage = spend[:, video] / (self._nature.saturation[:, video] + spend[:, video])
        more = self.lift * usage * alone[:, search]
        both = alone[:, one] + alone[:, other]
        less = self.eaten * alone[:, one] * alone[:, other] / (both + (both == 0))
        shared, lost = alone.copy(), alone.copy()
        for cells, joint in (((video, search), more), ((one, other), -less)):
            for cell in cells:
                shared[:, cell] += joint / 2
                lost[:, cell] += joint
        return shared, lost
