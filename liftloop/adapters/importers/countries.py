"""Countries under one name: ``UK``, ``GB``, ``GBR`` and ``United Kingdom`` are one segment.

The name is the one the workspace uses already, else the ISO 3166 code of two letters. Segments in
feed files and in ``--segment`` stay as they are written: they may be anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import pycountry

# What platforms write beside the names of ISO 3166; codes behind.
_ALSO = {
    "UK": "GB",
    "EL": "GR",
    "Great Britain": "GB",
    "Britain": "GB",
    "Great Britain and Northern Ireland": "GB",
    "USA": "US",
    "U.S.": "US",
    "U.S.A.": "US",
    "America": "US",
    "United States of America": "US",
    "UAE": "AE",
    "Russia": "RU",
    "South Korea": "KR",
    "Republic of Korea": "KR",
    "Korea, South": "KR",
    "North Korea": "KP",
    "Turkey": "TR",
    "Turkiye": "TR",
    "Czech Republic": "CZ",
    "Holland": "NL",
    "The Netherlands": "NL",
    "Macedonia": "MK",
    "Ivory Coast": "CI",
    "Cape Verde": "CV",
    "Swaziland": "SZ",
    "Burma": "MM",
    "Myanmar (Burma)": "MM",
    "East Timor": "TL",
    "Brunei": "BN",
    "Laos": "LA",
    "Syria": "SY",
    "Macau": "MO",
    "Macau SAR China": "MO",
    "Hong Kong SAR China": "HK",
    "Hong Kong SAR": "HK",
    "Palestine": "PS",
    "Vatican City": "VA",
    "Congo - Kinshasa": "CD",
    "DR Congo": "CD",
    "Democratic Republic of the Congo": "CD",
    "Congo (DRC)": "CD",
    "Congo - Brazzaville": "CG",
    "Republic of the Congo": "CG",
    "Falkland Islands": "FK",
    "Curacao": "CW",
    "Kosovo": "XK",
    "XK": "XK",
    "XKX": "XK",
    "Mainland China": "CN",
    "Republic of Ireland": "IE",
    "U.S. Virgin Islands": "VI",
    "US Virgin Islands": "VI",
    "St. Vincent & Grenadines": "VC",
    "Bosnia": "BA",
    "Trinidad": "TT",
    "St. Martin": "MF",
    "Sint Maarten": "SX",
}


def country_code(text: str) -> str | None:
    """The ISO 3166 code of two letters of a country's name or code, or ``None`` for other text.

    Examples
    --------
    >>> [country_code(t) for t in ("UK", "gbr", "United Kingdom", "Viet Nam", "Vietnam", "north")]
    ['GB', 'GB', 'GB', 'VN', 'VN', None]
    """
    return _codes().get(_folded(text))


def _folded(text: str) -> str:
    """A name without what its spellings differ in: case, accents, points, "&" and "the"."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = plain.casefold().replace("&", " and ").replace("’", "'")
    plain = re.sub(r"\bst\.? ", "saint ", plain)
    return " ".join(plain.replace(".", "").split()).removeprefix("the ")


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    codes: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for country in pycountry.countries:
        for name in ("alpha_2", "alpha_3", "name", "official_name", "common_name"):
            text = getattr(country, name, None)
            if text:
                codes[_folded(text)] = country.alpha_2
        # "Moldova, Republic of": "Moldova" alone, where no other country shares it (two Koreas).
        short.setdefault(_folded(country.name.partition(",")[0]), set()).add(country.alpha_2)
    for name, owners in short.items():
        if len(owners) == 1:
            codes.setdefault(name, next(iter(owners)))
    return codes | {_folded(name): code for name, code in _ALSO.items()}


class CountryNames:
    """Names for a column of countries, one a country.

    Parameters
    ----------
    in_use
        The segments of the workspace's facts: a country keeps the name it has there.
    """

    def __init__(self, in_use: Iterable[str] = ()) -> None:
        self._in_use = frozenset(in_use)
        self._named: dict[str, str] = {}
        # Where a workspace has several names of one country already, the ISO code is preferred.
        for name in sorted(self._in_use, key=lambda name: (country_code(name) != name, name)):
            code = country_code(name)
            if code is not None:
                self._named.setdefault(code, name)
        self.joined: dict[str, str] = {}  # as written -> as named, where the two differ

    def __call__(self, text: str) -> str:
        """The segment of a cell: one in use, else its country's code, else the text itself."""
        if text in self._in_use:
            return text
        code = country_code(text)
        name = text if code is None else self._named.get(code, code)
        if name != text:
            self.joined[text] = name
        return name
