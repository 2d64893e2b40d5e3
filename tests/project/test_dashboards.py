"""The examples in docs/dashboards.md and the Grafana dashboard work with the daemon's responses.

Prometheus is real. The examples for Homepage and Glance are checked against the JSON that they
would get, by the rules in their documentation.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from immich_job_daemon.config.schema import SETTINGS
from immich_job_daemon.web.api.json import STATES
from simulator.immich.ports import free_port
from tests.support.programs import find_program
from tests.support.repository import ROOT
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY, serve_status

DOCUMENT: Final = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
GRAFANA: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
ADDRESS: Final = "192.168.1.5:8085"

Check = Callable[[object], bool]


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", DOCUMENT, re.DOTALL)


def example(word: str) -> Any:  # noqa: ANN401 - any YAML
    """Return the YAML example that contains a word."""
    (text,) = [text for text in examples("yaml") if word in text]
    return yaml.safe_load(text)


def is_number(value: object) -> bool:
    return type(value) is int


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


@pytest.fixture(scope="module")
def responses() -> dict[str, Any]:
    """Return the responses by path."""
    with serve_status(BUSY) as url:
        paths = {path: requests.get(f"{url}{path}", timeout=90) for path in ("/", "/queues")}
        metrics = requests.get(f"{url}/metrics", timeout=90).text
    return {**{path: response.json() for path, response in paths.items()}, "/metrics": metrics}


# JSON


def types_of(fields: Mapping[str, object]) -> dict[str, type]:
    return {name: type(value) for name, value in fields.items()}


def test_the_json_examples_have_the_actual_fields_and_types(
    responses: dict[str, Any],
) -> None:
    totals, queue = (json.loads(text) for text in examples("json"))
    assert types_of(totals) == types_of(responses["/"])
    (running,) = [entry for entry in responses["/queues"] if entry["state"] == "running"]
    assert types_of(queue) == types_of(running)
    assert list(totals) == list(responses["/"])
    assert list(queue) == list(running)


def test_every_state_of_a_queue_is_documented() -> None:
    (line,) = re.findall(r"^`state` is one word \((.+?)\)", DOCUMENT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == set(STATES.values())


def test_the_documented_port_is_the_default() -> None:
    assert ADDRESS.endswith(f":{SETTINGS['STATUS_PORT'].default}")
    assert set(re.findall(r"192\.168\.1\.5:\d+", DOCUMENT)) == {ADDRESS}


# Homepage


FORMATS: Final[dict[str, Check]] = {"number": is_number, "text": is_text}


def homepage_widget(word: str) -> dict[str, Any]:
    """Return the widget of the only service in the only group of an example."""
    ((_, ((name, service),)),) = [
        (group, tuple(services[0].items())) for group, services in example(word)[0].items()
    ]
    assert name.startswith("Immich")
    widget: dict[str, Any] = service["widget"]
    assert widget["type"] == "customapi"
    return widget


def path_of(widget: Mapping[str, Any]) -> str:
    host, path = re.fullmatch(r"http://([^/]+)(/.*)", widget["url"]).groups()  # type: ignore[union-attr] # raises if it does not match
    assert host == ADDRESS
    return str(path)


def test_the_fields_of_the_homepage_block_exist_with_the_right_types(
    responses: dict[str, Any],
) -> None:
    widget = homepage_widget("field: active")
    response = responses[path_of(widget)]
    assert 1 <= len(widget["mappings"]) <= 4
    for mapping in widget["mappings"]:
        assert FORMATS[mapping.get("format", "text")](response[mapping["field"]]), mapping
        assert mapping["label"]


def test_the_homepage_list_gets_an_array_with_names_and_numbers(
    responses: dict[str, Any],
) -> None:
    widget = homepage_widget("dynamic-list")
    assert "items" not in widget["mappings"], "items is only for an array inside the document"
    response = responses[path_of(widget)]
    assert isinstance(response, list)
    mappings = widget["mappings"]
    for queue in response:
        assert is_text(queue[mappings["name"]])
        assert FORMATS[mappings["format"]](queue[mappings["label"]])


# Glance

GLANCE_TYPES: Final[dict[str, Check]] = {
    "Int": is_number,
    "String": is_text,
    "Bool": lambda value: isinstance(value, bool),
}


def test_the_paths_of_the_glance_template_exist_with_the_right_types(
    responses: dict[str, Any],
) -> None:
    ((widget),) = example("custom-api")
    assert path_of(widget) == "/"
    template = widget["template"]
    assert f"http://{ADDRESS}/queues" in template
    assert template.count("{{") == template.count("}}")
    totals_fields = re.findall(r"\.JSON\.(Int|String|Bool) \"(\w+)\"", template)
    assert len(totals_fields) >= 4
    for kind, path in totals_fields:
        assert GLANCE_TYPES[kind](responses["/"][path]), path
    queue_fields = re.findall(r"(?<!JSON)\.(Int|String|Bool) \"(\w+)\"", template)
    assert len(queue_fields) >= 4
    for kind, path in queue_fields:
        assert all(GLANCE_TYPES[kind](queue[path]) for queue in responses["/queues"]), path
    # An empty path selects the document itself.
    assert '$queues.JSON.Array ""' in template
    assert isinstance(responses["/queues"], list)


# Prometheus


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [find_program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rules") / "immich-job-daemon.yml"
    file.write_text(yaml.safe_dump(example("alert: ")))
    return file


def test_prometheus_accepts_the_scrape_configuration_and_the_alerts(
    rules: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump({**example("scrape_configs"), "rule_files": [str(rules)]}))
    assert "is valid prometheus config file syntax" in promtool("check", "config", file)
    assert "3 rules found" in promtool("check", "rules", rules)


def test_the_alerts_fire_only_when_they_should(rules: Path, tmp_path: Path) -> None:
    up = {"series": 'up{job="immich-job-daemon"}', "values": "1+0x20 0+0x100"}
    problem = 'immich_job_daemon_problem{kind="key_rejected"}'
    failed = 'immich_queue_jobs{queue="ocr", state="failed"}'
    expected = [
        ("10m", "ImmichJobDaemonDown", {}),
        ("30m", "ImmichJobDaemonDown", {"job": "immich-job-daemon"}),
        ("30m", "ImmichJobDaemonProblem", {}),
        ("60m", "ImmichJobDaemonProblem", {"kind": "key_rejected"}),
        ("10m", "ImmichJobsFail", {}),
        ("90m", "ImmichJobsFail", {"queue": "ocr", "state": "failed"}),
    ]
    alerts = {rule["alert"]: rule for rule in example("alert: ")["groups"][0]["rules"]}
    assert {name for _, name, _ in expected} == alerts.keys()
    tests = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    up,
                    {"series": problem, "values": "0+0x30 1+0x100"},
                    {"series": failed, "values": "2+0x60 5+0x100"},
                ],
                "alert_rule_test": [
                    {
                        "eval_time": at,
                        "alertname": name,
                        "exp_alerts": [
                            {"exp_labels": labels, "exp_annotations": annotations_of(name)}
                        ]
                        if labels
                        else [],
                    }
                    for at, name, labels in expected
                ],
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(tests))
    assert "SUCCESS" in promtool("test", "rules", file)


def annotations_of(alert: str) -> dict[str, str]:
    return {
        "summary": {
            "ImmichJobDaemonDown": "The Immich Job Daemon does not respond.",
            "ImmichJobDaemonProblem": "The Immich Job Daemon has a problem: key_rejected. Its page "
            "and its log say what to do.",
            "ImmichJobsFail": "3 jobs of ocr have failed in the last hour.",
        }[alert]
    }


def test_exactly_the_exposed_metrics_are_documented(responses: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (`immich_.+?) \| ", DOCUMENT, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(immich_\w+)", row)}
    exposed = {
        f"{family.name}{'_total' if family.type == 'counter' else ''}"
        for family in text_string_to_metric_families(responses["/metrics"])
    }
    assert documented == exposed


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Run Prometheus with a scrape interval of one second; yield its URL."""
    scrape = example("scrape_configs")["scrape_configs"][0]
    scrape["static_configs"][0]["targets"] = [target]
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    address = f"127.0.0.1:{free_port()}"
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(
            [
                find_program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield f"http://{address}"
        finally:
            process.kill()


def query(url: str, expression: str) -> list[Any] | None:
    """Return the result of a query, None while Prometheus is not ready."""
    try:
        response = requests.get(f"{url}/api/v1/query", params={"query": expression}, timeout=90)
    except requests.ConnectionError:
        return None
    if response.status_code == 503:
        return None
    value = response.json()
    assert value["status"] == "success", (expression, value)
    result: list[Any] = value["data"]["result"]
    return result


def value_of(result: list[Any] | None) -> float:
    """Return the first value of a result, 0 if there is none."""
    return float(result[0]["value"][1]) if result else 0.0


def expressions() -> list[str]:
    """Return the queries of the dashboard and of the alerts."""
    panel_queries = [
        target["expr"] for panel in GRAFANA["panels"] for target in panel.get("targets", ())
    ]
    alert_queries = [rule["expr"] for rule in example("alert: ")["groups"][0]["rules"]]
    return [*panel_queries, *alert_queries]


def test_every_query_has_a_result_in_a_real_prometheus(
    tmp_path: Path,
) -> None:
    with (
        serve_status(BUSY) as status_url,
        prometheus(tmp_path, status_url.removeprefix("http://")) as url,
    ):
        # Rates need two samples.
        wait_until(lambda: value_of(query(url, "count_over_time(immich_up[1m])")) > 1)
        assert len(expressions()) > 15
        for expression in expressions():
            runnable = expression.replace("$__rate_interval", "1m").replace("[1h]", "[1m]")
            assert query(url, runnable) is not None
            without_comparison = re.sub(r" (?:>|==) [01]$", "", runnable)
            assert query(url, without_comparison), without_comparison
        assert value_of(query(url, 'up{job="immich-job-daemon"}')) == 1
        waiting = query(url, 'sum(immich_queue_jobs{state=~"waiting|paused"})')
        assert value_of(waiting) == 1242


# Grafana


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = GRAFANA["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for first, second in combinations(panels, 2):
        a, b = first["gridPos"], second["gridPos"]
        assert (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        ), (first["title"], second["title"])


def test_the_dashboard_uses_existing_metrics_and_the_selected_data_source(
    responses: dict[str, Any],
) -> None:
    names = {
        sample.name
        for family in text_string_to_metric_families(responses["/metrics"])
        for sample in family.samples
    }
    for panel in GRAFANA["panels"]:
        assert panel["title"]
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert set(re.findall(r"immich_\w+", target["expr"])) <= names
    (variable,) = GRAFANA["templating"]["list"]
    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
