"""What Prometheus reads, parsed by its own client."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.catalog import Catalog
from closedloop.serve.figures import Figures, Latencies, route_of

DESK = "shop.intent.desk"
PREDICT = f"/v1/models/{DESK}:predict"


def samples(api):
    """Return every sample by its name and labels, without the replica."""
    response = api.call("GET", "/metrics", key="cl_figures")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "replica"}
            assert sample.labels["replica"] == api.service.figures.replica
            found[(sample.name, *sorted(labels.items()))] = sample.value
    return found


def test_requests_are_counted_by_route_status_and_tenant(desk):
    desk.post(PREDICT, {"text": "refund"})
    desk.post(PREDICT, {"text": "refund"}, key="cl_all")
    desk.post(PREDICT, {})
    desk.post("/v1/models/shop.intent.none:predict", {"text": "x"})
    desk.post("/v1/turn", {"text": "x"})
    desk.call("GET", "/v1/nothing-of-the-kind")
    found = samples(desk)
    requests = "closedloop_requests_total"
    for route, status, count in (
        ("predict", "200", 2),
        ("predict", "422", 1),
        ("predict", "404", 1),
        ("turn", "200", 1),
        ("other", "404", 1),
    ):
        assert found[requests, ("route", route), ("status", status)] == count
    assert found["closedloop_tenant_requests_total", ("tenant", "shop")] == 5
    assert found["closedloop_tenant_requests_total", ("tenant", "*")] == 1
    seconds = "closedloop_request_seconds"
    assert found[f"{seconds}_count", ("route", "predict")] == 4
    assert found[f"{seconds}_bucket", ("le", "+Inf"), ("route", "predict")] == 4
    assert found[f"{seconds}_sum", ("route", "predict")] > 0
    assert found["closedloop_requests_in_flight",] == 1  # the one that asks


def test_refusals_are_counted_by_reason(serve_models):
    api = serve_models(burst_per_key=4, rate_per_key_s=1e-3, buffer_events=1, max_body_bytes=2_000)
    for body, key in (
        ({"text": "x"}, None),
        ({"text": "x"}, "cl_figures"),
        ({"text": "x" * 3_000}, "cl_shop"),
        ({"texts": ["x", "y"]}, "cl_shop"),
        *[({"text": "x"}, "cl_shop")] * 3,
    ):
        api.post(PREDICT, body, key=key)
    found = {k[1][1]: v for k, v in samples(api).items() if k[0] == "closedloop_refused_total"}
    assert found["unauthorised"] == found["forbidden"] == found["too_large"] == 1
    assert found["event_log"] >= 1
    assert found["quota"] == 1


def test_models_and_events_are_told(serve_models, lean_model):
    def load(champion):
        if champion.ref.name == "damaged":
            raise OSError("unreadable")
        return lean_model

    api = serve_models(DESK, "shop.intent.damaged", load=load)
    api.post(PREDICT, {"texts": ["x", "y"]})
    api.events()
    moved = Champion(ref=ModelRef.parse(DESK), version=4, path="/m", sha256="")
    api.host.apply(Catalog.of([moved])).result(10)
    found = samples(api)
    for name, value in (
        ("models", 1),
        ("models_in_memory", 1),
        ("models_on_trial", 0),
        ("model_bytes", lean_model.size_bytes),
        ("model_loads_total", 2),
        ("model_load_failures_total", 1),
        ("model_evictions_total", 0),
        ("champion_swaps_total", 1),
        ("events_waiting", 0),
        ("events_written_total", 2),
        ("event_log_failing", 0),
    ):
        assert found[f"closedloop_{name}",] == value, name


def test_metrics_are_for_keys_that_were_given_them(desk):
    desk.assert_error(desk.call("GET", "/metrics"), 403, "not_allowed")
    desk.assert_error(desk.call("GET", "/metrics", key=None), 401, "not_allowed")


@pytest.mark.parametrize("path", ["/nope", "/v1/models/x:y", "/v1/models/a:b:predicts", "/v1/x"])
def test_unknown_paths_make_no_series_of_their_own(path):
    assert route_of(path) == "other"


def test_a_bucket_holds_what_is_at_its_bound():
    latencies = Latencies()
    for seconds in (0.001, 0.0011, 10.0, 11.0):
        latencies.add(seconds)
    buckets = dict(latencies.buckets())
    assert (buckets["0.001"], buckets["0.0025"], buckets["10.0"], buckets["+Inf"]) == (1, 2, 3, 4)


def test_a_client_that_went_away_is_counted(desk):
    figures = Figures(host=desk.host, writer=desk.writer)
    figures.answered("/v1/turn", 0, 0.1, None)
    assert b'route="turn",status="0"} 1.0' in figures.text()
