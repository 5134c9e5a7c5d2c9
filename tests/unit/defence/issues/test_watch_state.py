"""A watch that is saved and loaded goes on as if nothing had been."""

import pytest

from closedloop.core.errors import InputError
from closedloop.defence.issues.watch import IssueWatch
from closedloop.defence.issues.watch_settings import WatchSettings
from closedloop.defence.issues.watch_state import dump, load


def test_a_loaded_watch_goes_on_as_one_that_was_never_interrupted(make_traffic, calm):
    settings = WatchSettings(micros=256, terms=256, recent_users=300, recent_events=300)
    through = make_traffic(seed=1, watch=IssueWatch(settings))
    broken = make_traffic(seed=1, watch=IssueWatch(settings))
    for traffic in (through, broken):
        traffic.flow(5400, calm)
    broken.watch = load(dump(broken.watch))
    for traffic in (through, broken):
        traffic.flow(5400, calm)
        traffic.flow(300, {**calm, "coupon": 10.0})
    assert dump(broken.watch) == dump(through.watch)
    assert through.rising()
    assert broken.sightings() == through.sightings()


def test_a_fresh_watch_can_be_saved():
    watch = IssueWatch(WatchSettings(alarms_per_day=2.0))
    assert load(dump(watch)).settings == watch.settings


def test_asking_for_sightings_changes_nothing(make_traffic, calm):
    traffic = make_traffic(seed=2)
    traffic.flow(3600, calm)
    before = dump(traffic.watch)
    traffic.sightings(known={0, 1})
    assert dump(traffic.watch) == before


@pytest.mark.parametrize("content", [b"", b"nonsense", b"ARROW1\0\0"])
def test_what_is_no_state_is_refused(content):
    with pytest.raises(InputError):
        load(content)
