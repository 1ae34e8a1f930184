from __future__ import annotations

import pycountry
import pytest

from liftloop.adapters.importers.channels import campaign_kind
from liftloop.adapters.importers.countries import CountryNames, country_code

BRITAIN = ("UK", "GB", "gb", "GBR", "United Kingdom", "united kingdom", "Great Britain", " U.K. ")


@pytest.mark.parametrize("text", BRITAIN)
def test_names_and_codes_of_one_country_are_one(text: str) -> None:
    assert country_code(text) == "GB"
    assert CountryNames()(text) == "GB"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Türkiye", "TR"),
        ("Turkey", "TR"),
        ("Côte d’Ivoire", "CI"),
        ("South Korea", "KR"),
        ("Bosnia & Herzegovina", "BA"),
        ("St. Lucia", "LC"),
        ("The Netherlands", "NL"),
        ("United States of America", "US"),
        ("Czech Republic", "CZ"),
        ("Vietnam", "VN"),
        ("Moldova", "MD"),
        ("Macau", "MO"),
        ("Hong Kong SAR China", "HK"),
        ("EL", "GR"),
    ],
)
def test_countries_are_known_as_platforms_write_them(text: str, code: str) -> None:
    assert country_code(text) == code


@pytest.mark.parametrize("text", ["north", "all", "California", "Korea", "", "XX"])
def test_what_is_no_country_or_could_be_two_stays_as_it_is(text: str) -> None:
    assert country_code(text) is None
    assert CountryNames()(text) == text


def test_every_country_of_iso_3166_is_known_by_its_codes_and_name() -> None:
    for country in pycountry.countries:
        for text in (country.alpha_2, country.alpha_3, country.name):
            assert country_code(text) == country.alpha_2


@pytest.mark.parametrize(
    ("in_use", "text", "name"),
    [
        (("UK", "all"), "United Kingdom", "UK"),
        (("United Kingdom",), "GB", "United Kingdom"),
        (("UK", "GB"), "United Kingdom", "GB"),  # two names already: the ISO code
        (("UK", "GB"), "UK", "UK"),
        (("DE",), "GBR", "GB"),
        (("Germany",), "de", "Germany"),
    ],
)
def test_a_country_keeps_the_name_the_workspace_uses(
    in_use: tuple[str, ...], text: str, name: str
) -> None:
    names = CountryNames(in_use)
    assert names(text) == name
    assert names.joined == ({} if name == text else {text: name})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Search", "search"),
        ("SEARCH", "search"),
        ("Performance Max", "performance_max"),
        ("PERFORMANCE_MAX", "performance_max"),
        ("PerformanceMax", "performance_max"),
        ("Display", "display"),
        ("Video", "video"),
        ("YouTube", "video"),
        ("Shopping", "shopping"),
        ("Demand Gen", "demand_gen"),
        ("DISCOVERY", "demand_gen"),
        ("MULTI_CHANNEL", "app"),
        ("10", "performance_max"),
        (" --", "other"),
        ("UNSPECIFIED", "other"),
        (None, "other"),
        ("Vehicle Ads", "vehicle_ads"),
    ],
)
def test_a_campaign_type_is_one_kind_however_it_is_written(text: str | None, kind: str) -> None:
    assert campaign_kind(text) == kind
