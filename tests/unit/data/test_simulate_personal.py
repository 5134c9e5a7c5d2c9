"""What the detectors find in texts whose personal data they share no pattern with."""

from collections import Counter

from closedloop.core.privacy import find_pii, mask
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario


def test_detectors_find_what_simulated_people_give_away() -> None:
    outcome: Counter[str] = Counter()
    for turn in simulate_turns(Scenario(seed=77, turns=6_000, pii_share=0.4)):
        claimed = find_pii(turn.text)
        for start, end, kind in turn.pii:
            hit = any(s.kind == kind and s.start <= start and end <= s.end for s in claimed)
            outcome["found" if hit else "missed"] += 1
        for span in claimed:
            if not any(span.start < end and start < span.end for start, end, _ in turn.pii):
                outcome["wrong"] += 1
    assert outcome["found"] > 1_500
    assert outcome["missed"] <= 0.01 * (outcome["found"] + outcome["missed"])
    assert outcome["wrong"] <= 0.03 * outcome["found"]


def test_masked_traffic_keeps_no_value() -> None:
    for turn in simulate_turns(Scenario(seed=78, turns=3_000, pii_share=0.4)):
        masked = mask(turn.text)
        for start, end, kind in turn.pii:
            if kind in ("email", "card", "resident_id", "iban", "phone"):
                assert turn.text[start:end] not in masked
