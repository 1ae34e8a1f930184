"""Templates of what people read: one environment, which escapes by a template's ending.

Templates lie in ``templates/``: layout, order and words. What is computed stands in a frozen
dataclass that the caller hands over. A value that a template writes is escaped by itself; only
text that another template made (``Markup``) is taken as it is.

==================  =======================================================
``.html.j2``        HTML and SVG: ``& < > " '`` are escaped
``.md.j2``          Markdown: a value stays on its line and in its cell, and is marked up nowhere
``.streamlit.j2``   Markdown with Streamlit's own signs, such as ``:red[...]`` and ``$``
``.txt.j2``         plain text: a value stays on its line, control characters are blanks
==================  =======================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from liftloop.core.money.currencies import amount_words

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def render(template: str, **values: object) -> str:
    """The text of a template, by its path in ``templates/``.

    Raises
    ------
    jinja2.UndefinedError
        If the template names a value that is not given.
    """
    return _environment().get_template(template).render(**values)


def macro(template: str, name: str, *values: object) -> str:
    """What a macro of a template gives, as plain text: to be escaped where it is written."""
    found = getattr(_environment().get_template(template).module, name)(*values)
    return str.__str__(found)


def visible(text: str) -> str:
    """``text`` without control characters (line feeds stay): a name must not steer a terminal."""
    return _CONTROL.sub(" ", text)


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters; a cut is shown, and never leaves half an escape."""
    if len(text) <= limit:
        return text
    return re.sub(r"&[a-z]{0,3}$", "", text[: limit - 1]) + "…"


def brief(text: str, words: int) -> str:
    """At most so many words: whole sentences where at least half of the words are left, else a cut
    that is shown, after a clause where there is one, and never within brackets.

    >>> brief("Sales are late. Nobody knows why.", 4), brief("Sales of the north are late.", 3)
    ('Sales are late.', 'Sales of the…')
    >>> brief("About 206 are lost (67 to 345) a day.", 5), brief("North is late; south is, too.", 4)
    ('About 206 are lost…', 'North is late…')
    """
    found = text.split()
    if len(found) <= words:
        return " ".join(found)
    least = (words + 1) // 2
    for marks in ((".", "!", "?"), (";",)):
        ends = [n for n in range(least, words + 1) if found[n - 1].endswith(marks)]
        if ends:
            cut = " ".join(found[: ends[-1]])
            return cut if marks != (";",) else f"{cut[:-1]}…"
    cut = " ".join(found[:words])
    if cut.count("(") > cut.count(")") and cut.rindex("("):
        cut = cut[: cut.rindex("(")]
    return f"{cut.rstrip(' ,:;')}…"


def name(text: str) -> str:
    """A segment's or channel's name in a message: at most four words and 40 characters."""
    return clip(brief(one_line(text), 4), 40)


def one_line(text: str) -> str:
    """``text`` without control characters and line feeds."""
    return visible(text).replace("\n", " ")


def markdown(text: str) -> str:
    """Text from outside as one line of Markdown, unable to mark anything up or to end a cell. An
    underscore within a word marks nothing."""
    return _flat(text, r"[\\|<>`*~\[\]]|(?<![^\W_])_|_(?![^\W_])")


def streamlit(text: str) -> str:
    """The same for Streamlit, which knows colours, icons and formulas, too."""
    return _flat(text, r"[\\`*_{}\[\]()#+!|<>$~:]")


def money(amount: object) -> str:
    """Two places and thousands separators; a dash for what is not known."""
    value = float(amount)  # type: ignore[arg-type]  # a Decimal, a float or a frame's cell
    return f"{value:,.2f}" if math.isfinite(value) else "–"


def whole(amount: float) -> str:
    """An estimate: to the unit, as it is not known to the cent."""
    return f"{amount:z,.0f}"


def signed(amount: float) -> str:
    """A change of an estimate, to the unit and with its sign."""
    return f"{amount:+z,.0f}"


def signed_share(share: Decimal | float) -> str:
    """A change as a share of what was before."""
    return f"{share:+z.0%}"


def day(when: date) -> str:
    """A day in words: 5 January 2026."""
    return f"{when.day} {when:%B %Y}"


def thousands(number: Decimal | int) -> str:
    """A count with separators."""
    return f"{number:,}"


def pixels(length: float) -> str:
    """A length or position in a drawing."""
    return f"{length:.1f}"


def _flat(text: str, marks: str) -> str:
    return re.sub(marks, r"\\\g<0>", " ".join(visible(text).split()))


_ESCAPES: dict[str, Callable[[str], str]] = {
    ".md.j2": markdown,
    ".streamlit.j2": streamlit,
    ".txt.j2": one_line,
}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
    from jinja2.runtime import Context
    from markupsafe import Markup

    @pass_context
    def escaped(context: Context, value: object) -> object:
        """A value as its template's kind of text wants it."""
        ending = "." + str(context.name).split(".", 1)[1]
        escape = _ESCAPES.get(ending)
        if escape is None or isinstance(value, Markup):
            return value  # HTML, which Jinja escapes by itself
        return Markup(escape(str(value)))

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {
        "amount": amount_words,
        "brief": brief,
        "clip": clip,
        "day": day,
        "money": money,
        "name": name,
        "px": pixels,
        "signed": signed,
        "signed_share": signed_share,
        "thousands": thousands,
        "whole": whole,
    }
    return environment
