"""An address is found with all that belongs to it: door, building, town, state, country."""

import pytest

from closedloop.core.privacy import mask


@pytest.mark.parametrize(
    "address",
    [
        # What follows the street.
        "91 Queen's Road Central, Hong Kong",
        "45 Cherry Ln, Apt. 3, Boise, Idaho",
        "220 north oak street, apt 3d, salem, ma",
        "6200 N Sheridan Rd #1406, Chicago 60660",
        "7 Kowhai Road, Mairangi Bay, Auckland 0630",
        "22 Hill St, Fitzroy VIC 3065, Australia",
        "Goethestraße 14 B, 60313 Frankfurt am Main",
        "Mozartstr. 9, Stuttgart",
        "4412 County Road 211, Jacksonville, FL",
        "2 Mill Cottages, Mill Road, Ely",
        # What leads up to it.
        "Room 1204, 12/F, Tower B, Millennium City 2, 390 Kwun Tong Road, Kwun Tong, Kowloon",
        "18/F, Lee Garden Two, 35 Hysan Avenue, Causeway Bay",
        "Unit B, 5th Floor, 24 Hennessy Rd, Wan Chai",
        # Doors without a street.
        "Flat 12, 9/F, Block D, Mei Foo Sun Chuen, Lai Chi Kok, Kowloon",
        "Flat 8B, Block 6, Taikoo Shing, Hong Kong",
    ],
)
def test_an_address_is_found_whole(address: str) -> None:
    assert mask(f"send to {address}") == "send to <ADDRESS>"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("12 Oak Street, Order 47110", "<ADDRESS>, Order <ORDER>"),
        ("12 Oak Road. Sorry to bother you", "<ADDRESS> Sorry to bother you"),
        ("Flat 3B, Block 6, Taikoo Shing, Hong Kong is home", "<ADDRESS> is home"),
    ],
)
def test_an_address_ends_where_the_sentence_goes_on(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "the Flat 7, Size M and the Level 3, Red one",
        "there are 12 apartments in Tower B",
        "I waited at Park Street for 20 minutes",
        "more 4G base stations. Mill Road",
        "the hotel was 2 blocks from Main Street",
    ],
)
def test_what_is_no_address_is_kept(text: str) -> None:
    assert mask(text) == text
