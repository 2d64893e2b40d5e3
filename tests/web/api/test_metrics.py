"""The metrics for Prometheus: every value, in names and units that its own tools accept."""

import subprocess
from dataclasses import replace
from typing import Final

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from immich_job_daemon import __version__
from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.daemon.status_builder import kind_of
from immich_job_daemon.model.queue import MAX_QUEUES, Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.counters import Counters
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import ProblemKind, Status
from immich_job_daemon.web.api.metrics import FAILURE_KINDS
from immich_job_daemon.web.api.routes import create_api
from immich_job_daemon.web.server import App, Listener, create_dispatcher
from tests.support.programs import find_program
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING, Clock, serve_status

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def scrape(status: Status, accept: str = "") -> requests.Response:
    with serve_status(status) as url:
        return requests.get(f"{url}/metrics", headers={"Accept": accept}, timeout=90)


def samples(status: Status) -> dict[str, float]:
    """Return every value of a scrape by its series, in PromQL's notation without quotes."""
    response = scrape(status)
    assert response.status_code == 200
    return {
        f"{one.name}{{{','.join(f'{k}={v}' for k, v in sorted(one.labels.items()))}}}": one.value
        for family in plain(response.text)
        for one in family.samples
    }


@pytest.fixture(scope="module")
def busy() -> dict[str, float]:
    return samples(BUSY)


def test_every_queue_has_its_jobs_by_state(busy: dict[str, float]) -> None:
    assert busy["immich_queue_jobs{queue=thumbnailGeneration,state=active}"] == 3
    assert busy["immich_queue_jobs{queue=thumbnailGeneration,state=waiting}"] == 1000
    assert busy["immich_queue_jobs{queue=ocr,state=paused}"] == 234
    assert busy["immich_queue_jobs{queue=ocr,state=failed}"] == 2
    assert busy["immich_queue_jobs{queue=videoConversion,state=delayed}"] == 3
    assert sum(name.startswith("immich_queue_jobs{") for name in busy) == 5 * 5
    assert busy["immich_queue_paused{queue=ocr}"] == 1
    assert busy["immich_queue_paused{queue=search}"] == 0


def test_the_daemons_state_is_exported(busy: dict[str, float]) -> None:
    assert busy["immich_up{}"] == 1
    assert busy["immich_job_daemon_held_queues{}"] == 2
    assert busy["immich_job_daemon_slots_in_use{}"] == 1
    assert busy["immich_job_daemon_slots_limit{}"] == 2
    assert busy["immich_job_daemon_last_look_timestamp_seconds{}"] == BUSY.polled_at_unix
    assert busy["immich_job_daemon_remaining_seconds{}"] == 1500.6
    versions = f"immich_version=3.1.0,version={__version__}"
    assert busy[f"immich_job_daemon_info{{{versions}}}"] == 1


def test_the_counters_are_exported(busy: dict[str, float]) -> None:
    assert busy["immich_job_daemon_commands_total{command=pause}"] == 1
    assert busy["immich_job_daemon_commands_total{command=resume}"] == 0
    assert busy["immich_job_daemon_request_failures_total{kind=unreachable}"] == 1
    assert busy["immich_job_daemon_request_failures_total{kind=key_rejected}"] == 0
    request = "immich_job_daemon_request_duration_seconds"
    assert busy[f"{request}_bucket{{le=0.005}}"] == 1
    assert busy[f"{request}_bucket{{le=0.25}}"] == 1
    assert busy[f"{request}_bucket{{le=0.5}}"] == 2
    assert busy[f"{request}_bucket{{le=10.0}}"] == 2
    assert busy[f"{request}_bucket{{le=+Inf}}"] == busy[f"{request}_count{{}}"] == 3
    assert busy[f"{request}_sum{{}}"] == pytest.approx(60.304)
    assert busy["immich_job_daemon_handover_duration_seconds_bucket{le=0.25}"] == 1


def test_before_the_first_poll_all_families_exist_and_unknown_values_are_missing() -> None:
    values = samples(NOTHING)
    assert values["immich_up{}"] == 0
    assert not any("last_look" in name or "remaining" in name for name in values)
    assert not any(name.startswith("immich_queue") for name in values)
    assert values[f"immich_job_daemon_info{{immich_version=,version={__version__}}}"] == 1
    assert {family.name for family in plain(scrape(NOTHING).text)} == {
        family.name for family in plain(scrape(BUSY).text)
    }


def test_immich_up_is_0_while_polls_fail_and_the_last_values_stay() -> None:
    values = samples(LOST)
    assert values["immich_up{}"] == 0
    assert values["immich_queue_jobs{queue=thumbnailGeneration,state=waiting}"] == 1000
    problems = {
        name: value
        for name, value in values.items()
        if name.startswith("immich_job_daemon_problem")
    }
    assert len(problems) == len(ProblemKind)
    assert [name for name, value in problems.items() if value] == [
        "immich_job_daemon_problem{kind=unreachable}"
    ]


def test_every_kind_of_failure_is_exported_from_the_start() -> None:
    assert {kind_of(error("text")) for error in ImmichError.__subclasses__()} == set(FAILURE_KINDS)
    later = replace(NOTHING, counters=Counters().failed("no such api"))
    assert samples(later)["immich_job_daemon_request_failures_total{kind=no_such_api}"] == 1


@pytest.mark.parametrize("status", [BUSY, NOTHING, LOST], ids=["busy", "nothing", "lost"])
def test_promtool_accepts_the_metrics(status: Status) -> None:
    text = scrape(status).text
    checked = subprocess.run(
        [find_program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_openmetrics_is_served_on_request() -> None:
    response = scrape(BUSY, OPENMETRICS)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    families = {
        family.name: family.type
        for family in openmetrics(response.text)  # type: ignore[no-untyped-call]
    }
    assert families["immich_job_daemon_commands"] == "counter"
    assert families["immich_job_daemon"] == "info"
    assert families["immich_job_daemon_handover_duration_seconds"] == "histogram"


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "text/plain",
        "text/plain; version=x",
        "application/openmetrics-text; version=x",
        "application/openmetrics-text; version=",
        "text/plain;version=1.0.0;escaping=x",
        ";;;===",
        "text/plain; version=\xff",
    ],
)
def test_any_accept_header_gets_the_metrics(accept: str) -> None:
    response = scrape(BUSY, accept)
    assert response.status_code == 200
    assert "immich_up 1.0" in response.text


def test_the_metrics_are_compressed_for_clients_that_accept_it() -> None:
    with serve_status(BUSY) as url:
        response = requests.get(f"{url}/metrics", timeout=90)
    assert response.headers["Content-Encoding"] == "gzip"
    assert int(response.headers["Content-Length"]) < len(response.content)


def test_a_client_can_choose_families_by_name() -> None:
    with serve_status(BUSY) as url:
        response = requests.get(f"{url}/metrics?name[]=immich_up", timeout=90)
    assert [family.name for family in plain(response.text)] == ["immich_up"]


def test_the_name_of_a_queue_cannot_inject_a_line() -> None:
    names = ['a"} 1 #', "a\\b{}=,", "a\\n", "ü☃", "a b", "x" * 100]
    queues = {name: Queue(name, is_paused=False, active=7) for name in names}
    status = replace(
        BUSY, queues=queues, order=tuple(names), reasons=dict.fromkeys(names, Reason.RUNNING)
    )
    for accept, parse in (("", plain), (OPENMETRICS, openmetrics)):
        exported = {
            one.labels["queue"]
            for family in parse(scrape(status, accept).text)
            if family.name == "immich_queue_paused"
            for one in family.samples
        }
        assert exported == set(names)


def test_the_largest_number_of_queues_is_exported() -> None:
    names = [f"queue-{number}" for number in range(MAX_QUEUES)]
    queues = {name: Queue(name, is_paused=True, waiting=1, paused=2) for name in names}
    status = replace(
        BUSY, queues=queues, order=tuple(names), reasons=dict.fromkeys(names, Reason.WAITING)
    )
    values = samples(status)
    jobs = {name: value for name, value in values.items() if name.startswith("immich_queue_jobs{")}
    assert len(jobs) == MAX_QUEUES * 5
    assert sum(jobs.values()) == 3 * MAX_QUEUES


def test_each_scrape_shows_the_current_status() -> None:
    hub = StatusHub(NOTHING)
    api = create_api(hub, Clock(AT))
    listener = Listener(App.API, 0, create_dispatcher({App.API: api}))
    url = f"http://127.0.0.1:{listener.port}/metrics"
    try:
        assert "\nimmich_up 0.0\n" in requests.get(url, timeout=90).text
        hub.publish(BUSY)
        assert "\nimmich_up 1.0\n" in requests.get(url, timeout=90).text
    finally:
        listener.close()
