"""What the watch reports, and what it does not."""

from datetime import timedelta

from closedloop.data.event import Event, Kind


def test_a_burst_of_thirty_texts_in_small_traffic_is_one_issue(traffic, calm):
    traffic.flow(2 * 3600, calm)
    traffic.flow(300, {**calm, "coupon": 6.0})
    (issue,) = traffic.rising()
    assert any(term.startswith("coupon") for term in issue.terms)
    assert 15 <= issue.texts <= 45
    assert issue.rate_per_min > 3 * issue.expected_per_min
    assert issue.false_alarms_per_day < 1
    assert abs(issue.began_at - (traffic.now - 300)) <= 120


def test_calm_traffic_raises_nothing(traffic, calm):
    for _ in range(240):
        traffic.flow(60, calm)
        assert traffic.sightings() == []


def test_a_known_subject_that_triples_in_steady_traffic_is_an_issue(make_traffic):
    usual = dict.fromkeys(("parcel", "refund", "invoice", "password", "battery"), 60.0)
    traffic = make_traffic(seed=1)
    traffic.flow(5400, usual)
    assert traffic.rising() == []
    traffic.flow(600, {**usual, "refund": 180.0})
    (issue,) = traffic.rising()
    assert any(term.startswith("refund") for term in issue.terms)
    assert issue.rate_per_min > 2 * issue.expected_per_min > 0


def test_one_user_who_repeats_himself_is_no_issue(traffic, calm):
    traffic.flow(3600, calm)
    for _ in range(300):
        traffic.flow(1, calm)
        traffic.add("coupon", user="u-angry")
    assert traffic.rising() == []


def test_nothing_is_surprising_right_after_the_start(traffic):
    traffic.flow(100, {"coupon": 600.0, "parcel": 60.0})
    assert traffic.sightings() == []


def test_a_burst_stays_an_issue_while_it_lasts(make_traffic):
    traffic = make_traffic(seed=2)
    usual = dict.fromkeys(("parcel", "refund", "invoice", "password", "battery"), 30.0)
    traffic.flow(3600, usual)
    for minute in range(30):
        traffic.flow(60, {**usual, "coupon": 30.0})
        assert traffic.rising(), f"lost in minute {minute}"


def test_a_nightly_peak_that_is_known_is_no_issue(make_traffic):
    traffic = make_traffic(seed=3)
    day = dict.fromkeys(("parcel", "refund", "invoice", "password"), 2.0)
    for _ in range(3):
        traffic.flow(21 * 3600, day)
        traffic.flow(3600, {**day, "live": 2.0})
        traffic.flow(2 * 3600, day)
    traffic.flow(21 * 3600, day)
    found = []
    for _ in range(12):
        traffic.flow(300, {**day, "live": 2.0})
        found += traffic.rising()
    assert found == []


def test_a_new_subject_within_a_large_old_one_is_an_issue(make_traffic):
    traffic = make_traffic(seed=8)
    usual = dict.fromkeys(("parcel", "refund", "invoice", "password", "battery"), 60.0)
    usual["parcel"] = 300.0
    traffic.flow(1800, usual)
    assert traffic.rising() == []
    for _ in range(20):
        traffic.flow(1, usual)
        for _ in range(2):
            traffic.add("parcel", text=f"{traffic.said('parcel')} flooded")
    (issue,) = traffic.rising()
    assert "flooded" in issue.terms
    assert all("flooded" in said.text for said in issue.samples)


def test_two_subjects_that_break_out_together_are_two_issues(make_traffic):
    traffic = make_traffic(seed=4)
    usual = dict.fromkeys(("parcel", "refund", "invoice", "password", "battery"), 60.0)
    traffic.flow(1800, usual)
    traffic.flow(90, {**usual, "coupon": 40.0, "flood": 40.0})
    assert len(traffic.rising()) == 2


def test_a_known_issue_is_shown_when_it_has_calmed_down(make_traffic, calm):
    traffic = make_traffic(seed=5)
    traffic.flow(2 * 3600, calm)
    traffic.flow(300, {**calm, "coupon": 10.0})
    (issue,) = traffic.rising()
    traffic.flow(3 * 3600, calm)
    (shown,) = traffic.sightings(known={issue.cluster})
    assert not shown.rising
    assert issue.cluster in (shown.cluster, *shown.absorbed)
    assert traffic.sightings() == []


def test_micros_that_a_person_set_apart_count_under_their_own_name(make_traffic, calm):
    traffic = make_traffic(seed=6)
    traffic.flow(2 * 3600, calm)
    traffic.flow(300, {**calm, "coupon": 10.0})
    (issue,) = traffic.rising()
    parts = dict.fromkeys(issue.micros, -1)
    (apart,) = traffic.rising(known={-1}, parts=parts)
    assert apart.cluster == -1


def test_figures_of_an_issue_tell_what_was_answered_and_how_it_was_liked(make_traffic, calm):
    traffic = make_traffic(seed=7)
    traffic.flow(2 * 3600, calm)
    for n in range(40):
        traffic.flow(5, calm)
        event = traffic.add(
            "coupon",
            channel="web" if n % 4 else "app",
            model="shop.intent.main",
            prediction="greeting",
            confidence=0.3,
        )
        if n % 2:
            traffic.watch.heed(_thumb(event, "down" if n % 8 else "up"))
    (issue,) = traffic.rising()
    assert issue.channels["web"] > issue.channels["app"] > 0
    assert issue.models.keys() == {"shop.intent.main"}
    assert issue.intents.keys() == {"greeting"}
    assert issue.bad_share == 1.0
    assert issue.novelty > 0.5
    assert 1 < len(issue.typical) <= 8
    assert len({one.text for one in issue.typical}) == len(issue.typical)
    assert len(issue.samples) <= 200
    assert sum(issue.series) >= issue.texts


def test_an_issue_in_the_words_of_a_known_intent_is_less_new(make_traffic, calm):
    traffic = make_traffic(seed=8)
    for _ in range(180):
        traffic.flow(60, calm)
        traffic.add("voucher", prediction="voucher_help", confidence=0.95)
    traffic.flow(60, calm)
    news = {}
    for subject in ("voucher", "flood"):
        for _ in range(40):
            traffic.flow(3, calm)
            traffic.add(subject)
        found = traffic.rising()
        news[subject] = next(
            one.novelty for one in found if any(t.startswith(subject) for t in one.terms)
        )
    assert news["voucher"] < 0.5 < news["flood"]


def _thumb(event, thumb):
    return Event(
        event_id=f"f-{event.event_id}",
        ts=event.ts + timedelta(seconds=1),
        tenant=event.tenant,
        kind=Kind.FEEDBACK,
        feedback=thumb,
        refers_to=event.event_id,
    )
