"""Names that people take for one another: the same but for case, spaces, dashes, Unicode form,
invisible characters, or letters of another script that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

# Characters that take no place: soft hyphen, zero-width characters, direction marks, joiners,
# fillers, the byte order mark, variation selectors.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f"
    "\u2060\u2061\u2062\u2063\u2064\u2800\u3164\ufe00\ufe01\ufe0e\ufe0f\ufeff\uffa0"
)
# Those that carry no meaning between letters, so that a name is the same without them.
MEANINGLESS = "\u00ad\u034f\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064"
_GONE = re.compile(f"[{INVISIBLE}]")
_BETWEEN = re.compile(r"[\s_\-\u2010-\u2015\u2212\u00b7]+")
# Small letters that are drawn as Latin ones, or whose capitals are (Unicode's confusables,
# https://www.unicode.org/reports/tr39/, cut down to letters of Cyrillic, Greek and Armenian).
_DRAWN_AS = str.maketrans(
    "авеѕіјкмнорстухԁԛԝһӏ" + "αβεηικμνορτυχγζϲ" + "օսհոց" + "ı",
    "abesijkmhopctyxdqwhl" + "abehikmvoptuxyzc" + "ouhng" + "i",
)


def skeleton(name: str) -> str:
    """What is left of a name without what people do not see: equal for names that look alike.

    >>> skeleton("Paid\u200b  Search") == skeleton("paid_se\u0430rch")
    True
    """
    plain = _GONE.sub("", unicodedata.normalize("NFKC", name)).casefold()
    plain = unicodedata.normalize("NFKC", plain).translate(_DRAWN_AS)
    return _BETWEEN.sub("", plain) or plain


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of two and more different names that look alike, each sorted.

    >>> look_alikes(["search", "Search", "social"])
    [('Search', 'search')]
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[skeleton(name)].add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
