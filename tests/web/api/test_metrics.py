"""What Prometheus reads: every number, in names and units that its own tools accept."""

import subprocess
from dataclasses import replace
from typing import Final

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from immich_job_daemon import __version__
from immich_job_daemon.base.errors import ImmichError
from immich_job_daemon.model.queue import MAX_QUEUES, Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.counters import Counters
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import ProblemKind, Status
from immich_job_daemon.web.api.metrics import KINDS
from immich_job_daemon.web.api.routes import create_machines
from immich_job_daemon.web.application import Face, with_faces
from immich_job_daemon.web.server import Listener
from tests.support.programs import find_program
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING, Clock, shown

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def scraped(status: Status, accept: str = "") -> requests.Response:
    with shown(status) as url:
        return requests.get(f"{url}/metrics", headers={"Accept": accept}, timeout=90)


def samples(status: Status) -> dict[str, float]:
    """Return every value of a scrape by what a person would ask Prometheus for."""
    answer = scraped(status)
    assert answer.status_code == 200
    return {
        f"{one.name}{{{','.join(f'{k}={v}' for k, v in sorted(one.labels.items()))}}}": one.value
        for family in plain(answer.text)
        for one in family.samples
    }


@pytest.fixture(scope="module")
def busy() -> dict[str, float]:
    return samples(BUSY)


def test_every_queue_has_its_jobs_by_state_as_immich_counts_them(busy: dict[str, float]) -> None:
    assert busy["immich_queue_jobs{queue=thumbnailGeneration,state=active}"] == 3
    assert busy["immich_queue_jobs{queue=thumbnailGeneration,state=waiting}"] == 1000
    assert busy["immich_queue_jobs{queue=ocr,state=paused}"] == 234
    assert busy["immich_queue_jobs{queue=ocr,state=failed}"] == 2
    assert busy["immich_queue_jobs{queue=videoConversion,state=delayed}"] == 3
    assert sum(name.startswith("immich_queue_jobs{") for name in busy) == 5 * 5
    assert busy["immich_queue_paused{queue=ocr}"] == 1
    assert busy["immich_queue_paused{queue=search}"] == 0


def test_what_the_daemon_holds_and_lets_run(busy: dict[str, float]) -> None:
    assert busy["immich_up{}"] == 1
    assert busy["immich_job_daemon_held_queues{}"] == 2
    assert busy["immich_job_daemon_slots_in_use{}"] == 1
    assert busy["immich_job_daemon_slots_limit{}"] == 2
    assert busy["immich_job_daemon_last_look_timestamp_seconds{}"] == BUSY.updated_at
    assert busy["immich_job_daemon_remaining_seconds{}"] == 1500.6
    versions = f"immich_version=3.1.0,version={__version__}"
    assert busy[f"immich_job_daemon_info{{{versions}}}"] == 1


def test_what_was_done_since_the_start(busy: dict[str, float]) -> None:
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


def test_before_anything_is_known_all_families_are_there_and_no_value_is_made_up() -> None:
    found = samples(NOTHING)
    assert found["immich_up{}"] == 0
    assert not any("last_look" in name or "remaining" in name for name in found)
    assert not any(name.startswith("immich_queue") for name in found)
    assert found[f"immich_job_daemon_info{{immich_version=,version={__version__}}}"] == 1
    assert {family.name for family in plain(scraped(NOTHING).text)} == {
        family.name for family in plain(scraped(BUSY).text)
    }


def test_immich_is_down_while_no_look_succeeds_and_its_last_figures_stay() -> None:
    found = samples(LOST)
    assert found["immich_up{}"] == 0
    assert found["immich_queue_jobs{queue=thumbnailGeneration,state=waiting}"] == 1000
    problems = {
        name: value for name, value in found.items() if name.startswith("immich_job_daemon_problem")
    }
    assert len(problems) == len(ProblemKind)
    assert [name for name, value in problems.items() if value] == [
        "immich_job_daemon_problem{kind=unreachable}"
    ]


def test_every_kind_of_failure_is_there_from_the_start() -> None:
    assert {kind.__name__ for kind in ImmichError.__subclasses__()} == set(KINDS)
    later = replace(NOTHING, counters=Counters().failed("NoSuchApiError"))
    assert samples(later)["immich_job_daemon_request_failures_total{kind=no_such_api}"] == 1


@pytest.mark.parametrize("status", [BUSY, NOTHING, LOST], ids=["busy", "nothing", "lost"])
def test_prometheus_own_tool_finds_nothing_to_better(status: Status) -> None:
    text = scraped(status).text
    checked = subprocess.run(
        [find_program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_whoever_asks_for_openmetrics_gets_it() -> None:
    answer = scraped(BUSY, OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    found = openmetrics(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family.type for family in found}
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
def test_whatever_a_client_accepts_it_gets_an_exposition(accept: str) -> None:
    answer = scraped(BUSY, accept)
    assert answer.status_code == 200
    assert "immich_up 1.0" in answer.text


def test_compressed_for_whoever_takes_it() -> None:
    with shown(BUSY) as url:
        answer = requests.get(f"{url}/metrics", timeout=90)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < len(answer.content)


def test_only_some_families_for_whoever_names_them() -> None:
    with shown(BUSY) as url:
        answer = requests.get(f"{url}/metrics?name[]=immich_up", timeout=90)
    assert [family.name for family in plain(answer.text)] == ["immich_up"]


def test_any_name_of_a_queue_is_a_value_and_cannot_forge_a_line() -> None:
    names = ['a"} 1 #', "a\\b{}=,", "a\\n", "ü☃", "a b", "x" * 100]
    queues = {name: Queue(name, is_paused=False, active=7) for name in names}
    status = replace(
        BUSY, queues=queues, order=tuple(names), reasons=dict.fromkeys(names, Reason.RUNNING)
    )
    for accept, parse in (("", plain), (OPENMETRICS, openmetrics)):
        found = {
            one.labels["queue"]
            for family in parse(scraped(status, accept).text)
            if family.name == "immich_queue_paused"
            for one in family.samples
        }
        assert found == set(names)


def test_every_queue_that_immich_may_have_gets_its_metrics() -> None:
    names = [f"queue-{number}" for number in range(MAX_QUEUES)]
    queues = {name: Queue(name, is_paused=True, waiting=1, paused=2) for name in names}
    status = replace(
        BUSY, queues=queues, order=tuple(names), reasons=dict.fromkeys(names, Reason.WAITING)
    )
    found = samples(status)
    jobs = {name: value for name, value in found.items() if name.startswith("immich_queue_jobs{")}
    assert len(jobs) == MAX_QUEUES * 5
    assert sum(jobs.values()) == 3 * MAX_QUEUES


def test_each_scrape_shows_the_picture_of_that_moment() -> None:
    hub = StatusHub(NOTHING)
    face = create_machines(hub, Clock(AT))
    listener = Listener(Face.MACHINES, 0, with_faces({Face.MACHINES: face}))
    url = f"http://127.0.0.1:{listener.port}/metrics"
    try:
        assert "\nimmich_up 0.0\n" in requests.get(url, timeout=90).text
        hub.publish(BUSY)
        assert "\nimmich_up 1.0\n" in requests.get(url, timeout=90).text
    finally:
        listener.close()
