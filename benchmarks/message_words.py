"""The messages of half a year: how many words they have, and whether every figure in them, the ends
of intervals, counts and days included, is the ledger's.

uv run python -m benchmarks.message_words              # makes a demo of 26 weeks (4 minutes)
uv run python -m benchmarks.message_words WORKSPACE    # the messages of a workspace

Fails where a message has more than 80 words or a figure that the ledger does not explain.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.message_demo import run_half_a_year
from benchmarks.message_figures import Sent, sent_messages
from liftloop.reporting.messages.message_parts import MOST_WORDS
from tasks.context import Loop, open_loop

SHOWN = 20


def main(loop: Loop) -> int:
    """Print the words of each kind and twenty messages, of every kind some; 1 where a message
    breaks a rule."""
    by_kind: dict[str, list[Sent]] = defaultdict(list)
    for one in sent_messages(loop):
        by_kind[one.kind].append(one)
    every = [one for sent in by_kind.values() for one in sent]
    turns = [sent[i] for i in range(SHOWN) for sent in by_kind.values() if i < len(sent)]
    for one in turns[:SHOWN]:
        print(f"--- {one.kind}, {one.words} words\n{one.text}\n")
    broken = [one for one in every if one.words > MOST_WORDS or one.unexplained]
    for one in broken:
        print(f"!!! {one.kind}, {one.words} words, unexplained: {one.unexplained}\n{one.text}\n")
    for kind, sent in by_kind.items():
        words = [one.words for one in sent]
        print(f"{kind:10} {len(sent):4} messages, {min(words)} to {max(words)} words")
    print(f"{len(every)} messages, {len(broken)} with a figure or a length that is wrong")
    return 1 if broken else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(open_loop(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(run_half_a_year(Path(folder) / "demo")))
