"""How the doors for single rows are: the streams' lag, what Redis keeps, the journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from liftloop.adapters.streams.broker import Broker, Lag, redis_url
from liftloop.adapters.streams.consumer import broker_of
from liftloop.adapters.streams.journal import left_over
from liftloop.reporting.rendering import render
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace

Found = tuple[str, bool | None, str, str]  # check, ok, detail, fix: as a finding of the doctor


def lags(settings: Settings) -> list[Lag]:
    """How far each feed's stream is behind; none when no stream is set up."""
    if redis_url(settings.streams) is None:
        return []
    return [broker_of(settings.streams, feed).lag() for feed in settings.streams.feeds]


def lag_page(found: Sequence[Lag]) -> str:
    """Markdown: one row a stream."""
    return render("markdown/stream_lag.md.j2", lags=found)


def look(workspace: Workspace, settings: Settings) -> Iterator[Found]:
    """What `liftloop doctor` says of streams and collector."""
    if redis_url(settings.streams) is None:
        yield "streams", True, "none set up: rows come as files", ""
    for feed in settings.streams.feeds if redis_url(settings.streams) else ():
        broker = broker_of(settings.streams, feed)
        yield _judged(broker.lag(), settings.streams.max_lag_seconds)
        yield from _kept(broker)
    left = left_over(workspace)
    if left:
        fix = "start liftloop collect: it puts them into the inbox"
        yield "collector", None, f"no collector runs, and {left:,} bytes wait in its journal", fix


def _judged(lag: Lag, limit: float) -> Found:
    if lag.lost:
        fix = "let nobody trim it by MAXLEN or MINID; have the sender send those days again"
        words = f"{lag.sentence}; {lag.lost:,} unread entries were trimmed away"
        return "streams", False, words, fix
    late = lag.oldest_seconds > limit
    fix = "see that the deployment consume runs (liftloop up), or consumes more: streams.batch_rows"
    return "streams", not late, lag.sentence, fix if late else ""


def _kept(broker: Broker) -> Iterator[Found]:
    """Whether Redis would still have unread entries after it was killed. It may not tell us."""
    from redis.exceptions import RedisError

    try:
        said = broker.client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    except RedisError:
        return
    if said.get("appendonly") != "yes":
        words = "Redis has no append-only file: entries not yet taken in die with it"
        yield "streams", None, words, "set appendonly yes, and appendfsync always or everysec"
    elif said.get("appendfsync") != "always":
        words = "Redis writes to its disk once a second: a crash may lose what was sent since"
        yield "streams", None, words, "set appendfsync always, where that matters"
    if said.get("maxmemory-policy") != "noeviction":
        words = f"Redis may drop whole streams when memory is short ({said['maxmemory-policy']})"
        yield "streams", False, words, "set maxmemory-policy noeviction"
