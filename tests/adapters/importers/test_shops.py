"""Shops, payments and GA4 as sales: made up here, written as each writes them, summed by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile


def read(folder: Path, text: str, **options: Any) -> Imported:
    path = folder / "export.csv"
    path.write_text(text, encoding="utf-8")
    return read_delivery(path, ImportOptions(**options))


def by_day(got: Imported) -> dict[tuple[str, str], tuple[int, Decimal]]:
    """(day, segment) -> (orders, revenue)."""
    assert got.feed == "sales"
    assert not got.frame.duplicated(["date", "segment"]).any()
    assert "_broken" not in got.frame, got.frame["_broken"].dropna().tolist()
    return {
        (f"{row['date']:%Y-%m-%d}", row["segment"]): (row["orders"], Decimal(str(row["revenue"])))
        for row in got.frame.to_dict("records")
    }


SHOPIFY_DAYS = """Day,Orders,Gross sales,Discounts,Returns,Net sales,Shipping,Taxes,Total sales
2026-09-01,12,1000.00,-50.00,-20.00,930.00,60.00,190.00,1180.00
2026-09-02,0,0,0,-80.00,-80.00,0,0,-80.00
,12,1000.00,-50.00,-100.00,850.00,60.00,190.00,1100.00
"""


def test_shopifys_sales_over_time_count_returns_on_their_day(tmp_path: Path) -> None:
    got = read(tmp_path, SHOPIFY_DAYS, segment="UK")
    assert by_day(got) == {
        ("2026-09-01", "UK"): (12, Decimal("1180.0")),
        ("2026-09-02", "UK"): (0, Decimal("-80.0")),
    }
    assert got.importer == "shopify"
    assert any(note.startswith("Totals rows left out: 1 (") for note in got.notes)


def test_shopifys_sales_by_region_are_segments_and_no_sum(tmp_path: Path) -> None:
    text = "Day,Shipping region,Orders,Gross sales,Net sales,Total sales\n"
    text += "2026-09-01,Georgia,1,10,10,12.00\n2026-09-01,Bayern,2,20,20,24.00\n"
    assert by_day(read(tmp_path, text)) == {
        ("2026-09-01", "Georgia"): (1, Decimal("12.0")),
        ("2026-09-01", "Bayern"): (2, Decimal("24.0")),
    }


def test_shopify_by_month_is_refused_with_the_way_to_days(tmp_path: Path) -> None:
    text = SHOPIFY_DAYS.replace("Day,", "Month,")
    with pytest.raises(RefusedFile, match="group by Day"):
        read(tmp_path, text)


ORDERS = """Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Taxes,Total,Created at,\
Lineitem quantity,Lineitem name,Lineitem price,Shipping Country,Billing Country,Cancelled at,\
Payment Method,Refunded Amount,Id,Tags
#1001,a@x,paid,2026-09-01 10:00:00 +0100,GBP,100.00,5.00,20.00,120.00,2026-09-01 09:59:00 +0100,\
2,Shirt,40.00,GB,GB,,Shopify Payments,0.00,501,
#1001,a@x,,,,,,,,2026-09-01 09:59:00 +0100,1,Sock,20.00,,,,,,,
#1001,a@x,,,,,,,,2026-09-01 09:59:00 +0100,1,Hat,25.00,,,,,,,
#1002,b@x,partially_refunded,2026-09-01,GBP,50.00,0,0,50.00,2026-09-01 23:40:00 +0100,\
1,Hat,50.00,,United Kingdom,,PayPal,12.50,502,
#1003,c@x,paid,2026-09-02,GBP,80.00,0,0,80.00,2026-09-02 12:00:00 +0100,\
1,Coat,80.00,DE,DE,,Shopify Payments,0.00,503,
#1004,d@x,voided,,GBP,999.00,0,0,999.00,2026-09-02 13:00:00 +0100,\
1,Coat,999.00,GB,GB,2026-09-02 14:00:00 +0100,Shopify Payments,0.00,504,
#1005,e@x,paid,,GBP,777.00,0,0,777.00,2026-09-02 13:00:00 +0100,\
1,Coat,777.00,GB,GB,,(for testing) Bogus Gateway,0.00,505,
#D7,f@x,pending,,GBP,555.00,0,0,555.00,2026-09-02 13:00:00 +0100,1,Coat,555.00,GB,GB,,,0.00,506,
"""


def test_a_shopify_order_of_several_lines_counts_once(tmp_path: Path) -> None:
    got = read(tmp_path, ORDERS, timezone="Europe/London", currency="GBP")
    assert by_day(got) == {
        ("2026-09-01", "GB"): (2, Decimal("157.5")),
        ("2026-09-02", "DE"): (1, Decimal("80.0")),
    }
    said = " ".join(got.notes)
    assert "2 further lines of orders that are counted" in said
    assert "1 cancelled orders" in said
    assert "1 test orders" in said
    assert "1 drafts" in said
    assert "United Kingdom is GB" in said


def test_orders_whose_total_stands_in_every_line_count_once_too(tmp_path: Path) -> None:
    line = "#1001,a@x,paid,,GBP,,,,120.00,2026-09-01 09:59:00 +0100,1,Sock,20.00,GB,GB,,,0.00,501,"
    text = ORDERS.replace("#1001,a@x,,,,,,,,2026-09-01 09:59:00 +0100,1,Sock,20.00,,,,,,,", line)
    assert by_day(read(tmp_path, text))[("2026-09-01", "GB")] == (2, Decimal("157.5"))


def test_two_shops_may_have_orders_of_one_number(tmp_path: Path) -> None:
    other = "#1001,z@x,paid,,GBP,,,,10.00,2026-09-02 09:59:00 +0100,1,X,10.00,DE,DE,,,0.00,901,\n"
    found = by_day(read(tmp_path, ORDERS + other))
    assert found[("2026-09-02", "DE")] == (2, Decimal("90.0"))


def test_an_order_with_two_totals_is_not_guessed(tmp_path: Path) -> None:
    other = "#1001,a@x,paid,,GBP,,,,10.00,2026-09-02 09:59:00 +0100,1,X,10.00,DE,DE,,,0.00,501,\n"
    broken = read(tmp_path, ORDERS + other).frame["_broken"].dropna().tolist()
    assert len(broken) == 1
    assert "order #1001 has two totals, 120.00 and 10.00" in broken[0]


def test_an_order_at_night_falls_on_the_accounts_day(tmp_path: Path) -> None:
    assert ("2026-09-02", "GB") in by_day(read(tmp_path, ORDERS, timezone="Europe/Moscow"))


def test_sales_in_another_currency_than_the_workspaces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r'in GBP.*currency is EUR.*currency = "GBP"'):
        read(tmp_path, ORDERS, currency="EUR")
    with pytest.raises(RefusedFile, match="in EUR and in GBP"):
        read(tmp_path, ORDERS.replace("#1003,c@x,paid,2026-09-02,GBP", "#1003,c@x,paid,,EUR"))


WOO_DAYS = """Date,Orders,Gross sales,Returns,Coupons,Net sales,Taxes,Shipping,Total sales
2026-09-01 00:00:00,3,300.00,0,-10.00,290.00,29.00,12.00,331.00
2026-09-02 00:00:00,1,50.00,-70.00,0,-20.00,-2.00,0,-22.00
"""


def test_woocommerces_revenue_report(tmp_path: Path) -> None:
    got = read(tmp_path, WOO_DAYS)
    assert got.importer == "woocommerce"
    assert by_day(got) == {
        ("2026-09-01", "all"): (3, Decimal("331.0")),
        ("2026-09-02", "all"): (1, Decimal("-22.0")),
    }


def test_woocommerces_revenue_by_week_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r"rows are weeks.*show it by day"):
        read(tmp_path, WOO_DAYS.replace("2026-09-02", "2026-09-08"))


WOO_ORDERS = """Date,Order #,Status,Customer,Product(s),Items sold,Coupon(s),Net sales
2026-09-01 10:00:00,71,completed,A,Shirt,1,,100.00
2026-09-01 11:00:00,72,processing,B,Hat,1,,40.00
2026-09-01 12:00:00,71,completed,A,Shirt,-1,,-30.00
2026-09-01 13:00:00,73,failed,C,Hat,1,,40.00
2026-09-01 14:00:00,74,cancelled,C,Hat,1,,40.00
2026-09-01 15:00:00,75,pending,C,Hat,1,,40.00
"""


def test_woocommerces_orders_count_refunds_as_money_back_and_no_order(tmp_path: Path) -> None:
    got = read(tmp_path, WOO_ORDERS)
    assert by_day(got) == {("2026-09-01", "all"): (2, Decimal("110.0"))}
    assert "1 failed orders, 1 cancelled orders, 1 unpaid orders" in " ".join(got.notes)


WOO_ITEMS = """Order Number,Order Status,Order Date,Country Code (Billing),Order Total Amount,\
Order Refund Amount,Item Name,Quantity
81,Completed,2026-09-01 10:00,GB,150.00,50.00,Shirt,1
81,Completed,2026-09-01 10:00,GB,150.00,50.00,Hat,2
82,Cancelled,2026-09-01 11:00,GB,70.00,0,Hat,1
83,On hold,2026-09-02 11:00,FR,20.00,0,Hat,1
"""


def test_an_order_export_with_a_line_an_item_counts_the_order_once(tmp_path: Path) -> None:
    assert by_day(read(tmp_path, WOO_ITEMS)) == {
        ("2026-09-01", "GB"): (1, Decimal("100.0")),
        ("2026-09-02", "FR"): (1, Decimal("20.0")),
    }


STRIPE = """id,Created date (UTC),Amount,Amount Refunded,Currency,Captured,Converted Amount,\
Converted Amount Refunded,Converted Currency,Fee,Status,Mode,Card Address Country,Card Issue Country
ch_1,2026-09-01 22:30:00,100.00,0.00,usd,true,90.00,0.00,eur,2.00,Paid,Live,DE,DE
ch_2,2026-09-01 10:00:00,50.00,20.00,eur,true,50.00,20.00,eur,1.00,Paid,Live,,GB
ch_3,2026-09-01 11:00:00,70.00,0.00,eur,false,,,,0.00,Failed,Live,DE,DE
ch_4,2026-09-01 12:00:00,30.00,30.00,eur,true,30.00,30.00,eur,1.00,Refunded,Live,DE,DE
ch_5,2026-09-01 12:00:00,60.00,0.00,eur,true,60.00,0.00,eur,1.00,Paid,Test,DE,DE
ch_1,2026-09-01 22:30:00,100.00,0.00,usd,true,90.00,0.00,eur,2.00,Paid,Live,DE,DE
"""


def test_stripes_payments_are_taken_in_the_settled_currency_less_refunds(tmp_path: Path) -> None:
    got = read(tmp_path, STRIPE, timezone="Europe/Berlin", currency="EUR")
    assert by_day(got) == {
        ("2026-09-02", "DE"): (1, Decimal("90.0")),  # 22:30 UTC is half past midnight in Berlin
        ("2026-09-01", "GB"): (1, Decimal("30.0")),
        ("2026-09-01", "DE"): (1, Decimal("0.0")),
    }
    said = " ".join(got.notes)
    assert "1 payments that failed or were not taken" in said
    assert "1 test payments" in said
    assert "1 payments listed twice" in said


def test_stripes_payments_in_european_notation(tmp_path: Path) -> None:
    text = (
        "id,Created (UTC),Amount,Amount Refunded,Currency,Status\n"
        'ch_1,2026-09-01 10:00,"1.399,50","99,50",eur,Paid\n'
        'ch_2,2026-09-01 11:00,"10,00","0,00",eur,Paid\n'
    )
    assert by_day(read(tmp_path, text)) == {("2026-09-01", "all"): (2, Decimal("1310.0"))}


def test_a_payment_of_an_unknown_status_is_kept_apart(tmp_path: Path) -> None:
    got = read(tmp_path, STRIPE.replace("2.00,Paid,Live", "2.00,Mystery,Live", 1))
    assert "'mystery' is no status of a payment" in got.frame["_broken"].dropna().tolist()[0]


BALANCE = """id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),Description
txn_1,charge,ch_1,100.00,3.00,97.00,eur,2026-09-01 10:00,
txn_2,refund,re_1,-40.00,0.00,-40.00,eur,2026-09-03 10:00,
txn_3,payout,po_1,-57.00,0.00,-57.00,eur,2026-09-03 11:00,
txn_4,stripe_fee,,-2.00,0.00,-2.00,eur,2026-09-03 11:00,
txn_5,adjustment,dp_1,-30.00,15.00,-45.00,eur,2026-09-04 11:00,Chargeback withdrawal for ch_0
"""


def test_stripes_balance_takes_refunds_and_disputes_on_their_own_day(tmp_path: Path) -> None:
    got = read(tmp_path, BALANCE)
    assert by_day(got) == {
        ("2026-09-01", "all"): (1, Decimal("100.0")),
        ("2026-09-03", "all"): (0, Decimal("-40.0")),
        ("2026-09-04", "all"): (0, Decimal("-30.0")),
    }
    assert "2 movements that are no sale" in " ".join(got.notes)


GA4 = """# ----------------------------------------
# Sales by day
# Account: Shop
# Property: Shop GA4
# ----------------------------------------
#
# All Users
# Start date: 20260901
# End date: 20260902
Date,Session source / medium,Country,Transactions,Total revenue
20260901,google / cpc,United Kingdom,5,500.50
20260901,(direct) / (none),United Kingdom,2,99.50
20260901,google / cpc,Germany,1,20
20260902,google / cpc,(not set),1,10
,,,9,630.00,Grand total
"""


def test_ga4_by_source_is_summed_by_day_and_country(tmp_path: Path) -> None:
    got = read(tmp_path, GA4)
    assert by_day(read(tmp_path, GA4.replace(",Grand total", ""))) == by_day(got)
    assert by_day(got) == {
        ("2026-09-01", "GB"): (7, Decimal("600.0")),
        ("2026-09-01", "DE"): (1, Decimal("20.0")),
        ("2026-09-02", "all"): (1, Decimal("10.0")),
    }
    assert got.importer == "ga4"


def test_ga4_without_days_is_refused_with_the_way_to_have_them(tmp_path: Path) -> None:
    text = GA4.replace(",Grand total", "").replace("Date,", "Month,")
    with pytest.raises(RefusedFile, match=r"2026-09-01 to 2026-09-02.*dimension Date"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text", [SHOPIFY_DAYS, ORDERS, WOO_DAYS, WOO_ORDERS, WOO_ITEMS, STRIPE, BALANCE]
)
def test_the_segment_stated_stands_for_all_rows(text: str, tmp_path: Path) -> None:
    got = read(tmp_path, text, segment="UK")
    assert set(got.frame["segment"]) == {"UK"}
