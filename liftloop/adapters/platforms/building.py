"""From a target of the settings to a platform, behind its policies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from liftloop.adapters.platforms.files import FilesPlatform
from liftloop.adapters.platforms.protocol import Platform
from liftloop.adapters.platforms.sql import SqlPlatform
from liftloop.core.errors import ConfigurationError
from liftloop.core.money.currencies import meta_minor_units
from liftloop.core.policy import Cell
from liftloop.settings.platforms import BUILT_IN, Platforms, Target
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    from liftloop.adapters.platforms.guarded import GuardedPlatform

EXTRAS = {"google": "google.ads.googleads", "meta": "facebook_business"}


def guarded(
    target: Target, *, settings: Settings, workspace: Workspace, engine: Engine
) -> GuardedPlatform:
    """The platform of a target, with its breaker, its patience and its secrets kept.

    Raises
    ------
    ConfigurationError
        If an environment variable is not set, or an extra not installed.
    """
    from liftloop.adapters.platforms.guarded import GuardedPlatform, RetryRule, breaker_of

    policies = settings.platforms
    breaker = breaker_of(
        engine,
        target.name,
        failures=policies.breaker_failures,
        seconds=policies.breaker_seconds,
    )
    return GuardedPlatform(
        build(target, settings=settings, workspace=workspace),
        breaker=breaker,
        patience=RetryRule(policies.tries, policies.wait_seconds),
        secrets=secrets_of(target),
    )


def build(target: Target, *, settings: Settings, workspace: Workspace) -> Platform:
    """The bare connector of a target."""
    missing = incomplete(target)
    if missing:
        raise ConfigurationError(f"platforms: {target.name}: {missing[0]}.", fix=missing[1])
    timeout = settings.platforms.timeout_seconds
    if target.kind == "files":
        return FilesPlatform(workspace.root / str(target.path))
    if target.kind == "sql":
        return SqlPlatform(database_of(target), table=target.table, timeout=timeout)
    if target.kind == "http":
        from liftloop.adapters.platforms.http import HttpPlatform

        return HttpPlatform(
            str(target.url),
            secret=os.environ[str(target.secret_env)],
            currency=settings.account.currency,
            timeout=timeout,
        )
    if target.kind == "google":
        return _google(target, settings.platforms)
    if target.kind == "meta":
        return _meta(target, settings)
    return _own(target, settings.platforms)


def _google(target: Target, policies: Platforms) -> Platform:
    from liftloop.adapters.platforms.google import GooglePlatform, client_from_environment

    return GooglePlatform(
        client_from_environment,
        account=str(target.account),
        budgets={cell: id for cell, (_, id) in campaigns_of(target, policies).items()},
        timeout=policies.timeout_seconds,
    )


def _meta(target: Target, settings: Settings) -> Platform:
    from liftloop.adapters.platforms.meta import MetaPlatform, api

    client = api(
        os.environ[str(target.secret_env)],
        app_secret=os.environ[target.app_secret_env] if target.app_secret_env else None,
        timeout=settings.platforms.timeout_seconds,
        url=target.url,
    )
    return MetaPlatform(
        client,
        budgets=campaigns_of(target, settings.platforms),
        minor_units=target.minor_units or meta_minor_units(settings.account.currency),
    )


def _own(target: Target, policies: Platforms) -> Platform:
    """A connector of the user's: ``module:function``, called with the target and the section."""
    module, function = target.kind.split(":")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"platforms: {target.name}: {target.kind} cannot be imported ({error}).",
            fix="put its folder on PYTHONPATH, or correct kind.",
        ) from None
    return cast(Platform, make(target, policies))


def campaigns_of(target: Target, policies: Platforms) -> dict[Cell, tuple[str, str]]:
    """Level and id of the budget that stands for each cell of the target."""
    return {
        Cell(campaign.segment, campaign.channel): (campaign.level, campaign.budget_id)
        for campaign in policies.campaigns
        if campaign.platform == target.name
    }


def database_of(target: Target) -> str:
    return os.environ[target.url_env] if target.url_env else str(target.url)


def incomplete(target: Target) -> tuple[str, str] | None:
    """What a target lacks on this machine, and what mends it; None where nothing."""
    for variable in (target.secret_env, target.app_secret_env, target.url_env):
        if variable and not os.environ.get(variable):
            return f"the environment variable {variable} is not set", f"set {variable}"
    module = EXTRAS.get(target.kind)
    if module is not None and not _installed(module):
        return "its SDK is not installed", f"run: uv sync --extra {target.kind}"
    if target.kind not in BUILT_IN and not _installed(target.kind.split(":")[0]):
        return f"{target.kind} cannot be found", "put its folder on PYTHONPATH"
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent is there
        return False


def secrets_of(target: Target, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """All that must never be shown: the values of the target's variables, and of Google's own."""
    named = [target.secret_env, target.app_secret_env, target.url_env]
    found = [environment.get(name, "") for name in named if name]
    if target.url_env:
        found.append(_password(environment.get(target.url_env, "")))
    if target.kind == "google":
        secret = ("TOKEN", "SECRET")
        found += [
            value
            for name, value in environment.items()
            if name.startswith("GOOGLE_ADS_") and name.endswith(secret)
        ]
    return tuple(value for value in found if value)


def _password(address: str) -> str:
    try:
        return make_url(address).password or ""
    except ArgumentError:
        return ""
