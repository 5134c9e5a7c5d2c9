"""An address may be told by the postcode that it ends in, whatever its street is called."""

import pytest

from closedloop.core.privacy import mask


@pytest.mark.parametrize(
    "address",
    [
        "5120 Nguyen Manors Suite 204, Port Alan, TX 75001",
        "5120 nguyen manors suite 204, port alan, tx 75001",
        "88 Cedar Bluffs, St. Paul, MN 55101-2233",
        "PSC 77, Box 1200, APO AP 96301",
        "Ivy Cottage, Back Lane, Ashford, Kent TN24 9AB",
        "Studio 3, Hughes row, West Liam, M4 5TT",
        "Suite 7, 90 King Street, Toronto, ON M5H 1J9",
        "Blk 45 Bedok North Avenue 3 #05-120, Singapore 460045",
        "Plot 9, Sector 44, Gurugram, Haryana 122003",
        "Im Tal 12, 80331 München",
        "Corso Italia 7, 20122 Milano",
        "Prinsengracht 263, 1016 GV Amsterdam",
        "ul. Nowa 3/4, 30-001 Kraków",
        "91 Oak Street\nSpringfield, IL 62704",
    ],
)
def test_what_leads_up_to_a_postcode_is_an_address(address: str) -> None:
    assert mask(f"please use {address}") == "please use <ADDRESS>"


@pytest.mark.parametrize(
    "text",
    [
        "do you ship to Chicago, IL 60614?",
        "I bought it on Nov 10, 2024 Amazon",
        "is SW1A 1AA in the zone?",
        "Windows 10 Build 190456",
        "it was 1,299.00 in 2023, now 5 pieces or 12345 points",
    ],
)
def test_a_town_or_a_date_is_none(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my postcode is LS1 4AP", "my postcode is <ADDRESS>"),
        ("zip code 97403 says no service", "zip code <ADDRESS> says no service"),
        ("plz: 50667", "plz: <ADDRESS>"),
        ("zip file error 12007", "zip file error 12007"),
    ],
)
def test_a_postcode_alone_needs_its_word(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_telephone_number_ahead_is_no_part_of_an_address() -> None:
    text = "tel: 0113 496 0000, 12 Hill Rise, Leeds LS1 4AP"
    assert mask(text) == "tel: <PHONE>, <ADDRESS>"
