"""A message from its template: the same parts as text and as Slack's blocks.

A template in ``templates/messages/`` names the parts in their order; each call adds lines to the
text and a block for Slack:

* ``{{ message.paragraph(words) }}`` or ``{% call message.paragraph() %}words{% endcall %}``,
* ``{% call message.bullets() %}``: each line of what follows is a bullet,
* ``{{ message.links(links) }}``, ``{{ message.small(words) }}``.

A message has at most :data:`MOST_WORDS` words. A part that is ``spare`` is left out where there is
no room for it, the last one first: it stands on the page that the message links to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liftloop.reporting.messages.slack_blocks import (
    BLOCKS_LIMIT,
    Block,
    Link,
    Words,
    bullets,
    buttons,
    context,
    header,
    section,
)
from liftloop.reporting.rendering import brief, render, visible

MOST_WORDS = 80
MOST_MOVES = 3
TITLE_WORDS = 18
LINKS_IN_TEXT = 3

Caller = Callable[[], str]


def compose(template: str, **values: object) -> Words:
    """The message of a template in ``templates/messages/``, which also sees ``values``.

    Raises
    ------
    ValueError
        If the template writes words outside of a part: nobody would get them.
    """
    message = MessageParts()
    outside = render(f"messages/{template}", message=message, **values).strip()
    if outside:
        raise ValueError(f"{template}: words outside of any part: {outside[:80]!r}")
    return message.within(MOST_WORDS)


def with_moves_that_fit(build: Callable[[int], Words]) -> Words:
    """A message that names as many moves as there is room for: ``build`` takes their number."""
    message = build(MOST_MOVES)
    for count in range(MOST_MOVES - 1, 0, -1):
        if len(message.text.split()) <= MOST_WORDS:
            break
        message = build(count)
    return message


@dataclass(frozen=True, slots=True)
class _Part:
    text: tuple[str, ...]
    blocks: tuple[Block, ...]
    spare: bool = False

    @property
    def words(self) -> int:
        return sum(len(line.split()) for line in self.text)


class MessageParts:
    """Collects the parts of a message. Each method returns "", so that a template can call it where
    it writes; ``caller`` is what stands between ``call`` and ``endcall``."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    @property
    def words(self) -> Words:
        """The whole message so far."""
        return _joined(self._parts)

    def within(self, most: int) -> Words:
        """The message without as many of its spare parts as go beyond ``most`` words."""
        parts = list(self._parts)
        for part in reversed(self._parts):
            if sum(one.words for one in parts) <= most:
                break
            if part.spare:
                parts.remove(part)
        return _joined(parts)

    def title(self, words: str = "", caller: Caller | None = None) -> str:
        """The headline; a message has one."""
        title = brief(_flowing(words, caller), TITLE_WORDS)
        return self._add([title], [header(title)])

    def paragraph(
        self,
        words: str = "",
        *,
        name: str = "",
        spare: bool = False,
        caller: Caller | None = None,
    ) -> str:
        """A paragraph, after its ``name`` in bold if it has one; nothing where it has no words."""
        found = _flowing(words, caller)
        if not found:
            return ""
        whole = f"{name}: {found}" if name else found
        return self._add([whole], [section(whole, bold=name)], spare=spare)

    def bullets(self, lines: Sequence[str] = (), *, caller: Caller | None = None) -> str:
        """A list."""
        shown = list(lines)
        if caller:
            shown += [line.strip() for line in caller().splitlines() if line.strip()]
        return self._add(shown, [bullets(shown)] if shown else [])

    def links(self, links: Sequence[Link]) -> str:
        """Where more is to be read or done: a button for each address; in the text, labels that
        lead to the same place share a line."""
        targets: dict[str, list[Link]] = {}
        for one in links:
            if not one.is_act or one.address:
                targets.setdefault(one.target, []).append(one)
        row = buttons(links)
        paths = [one for one in links if not one.address and not one.is_act]
        blocks = [*([row] if row else []), *([context("", paths)] if paths else [])]
        self._add([], blocks)
        for number, (target, same) in enumerate(list(targets.items())[:LINKS_IN_TEXT]):
            line = f"{', '.join(one.label for one in same)}: {target}"
            is_needed = number == 0 or any(one.is_act for one in same)
            self._add([line], [], spare=not is_needed)  # in Slack all are buttons
        return ""

    def small(self, words: str) -> str:
        """Small print; nothing where there are no words."""
        return self._add([words], [context(words)]) if words else ""

    def _add(self, text: Sequence[str], blocks: Sequence[Block], *, spare: bool = False) -> str:
        self._parts.append(_Part(tuple(text), tuple(blocks), spare))
        return ""


def _joined(parts: Sequence[_Part]) -> Words:
    text = [line for part in parts for line in part.text]
    blocks = [block for part in parts for block in part.blocks]
    return Words(visible("\n".join(text)), tuple(blocks[:BLOCKS_LIMIT]))


def _flowing(words: str, caller: Caller | None) -> str:
    """Words as given, or those of a template without the breaks between its lines."""
    return " ".join(caller().split()) if caller else str(words)
