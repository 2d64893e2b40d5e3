"""docs/dashboards.md and the Grafana dashboard: what is to be copied works with what is served.

Prometheus is the real one. Homepage and Glance are held against the JSON that they would get, by
the rules of their documentation.
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
from immich_job_daemon.web.api.json import WORDS
from simulator.immich.ports import free_port
from tests.support.programs import find_program
from tests.support.repository import ROOT
from tests.support.waiting import wait_until
from tests.web.sample_statuses import BUSY, shown

DOCUMENT: Final = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
GRAFANA: Final[dict[str, Any]] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
ADDRESS: Final = "192.168.1.5:8085"

Fits = Callable[[object], bool]


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", DOCUMENT, re.DOTALL)


def example(word: str) -> Any:  # noqa: ANN401 - YAML that somebody else reads
    """Return the example in YAML with this word in it."""
    (text,) = [text for text in examples("yaml") if word in text]
    return yaml.safe_load(text)


def is_number(value: object) -> bool:
    return type(value) is int


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    """Return what is at each path."""
    with shown(BUSY) as url:
        paths = {path: requests.get(f"{url}{path}", timeout=90) for path in ("/", "/queues")}
        metrics = requests.get(f"{url}/metrics", timeout=90).text
    return {**{path: answer.json() for path, answer in paths.items()}, "/metrics": metrics}


# What is told of the JSON


def kinds(found: Mapping[str, object]) -> dict[str, type]:
    return {name: type(value) for name, value in found.items()}


def test_the_examples_have_the_fields_that_are_served_in_their_types(
    served: dict[str, Any],
) -> None:
    totals, queue = (json.loads(text) for text in examples("json"))
    assert kinds(totals) == kinds(served["/"])
    (running,) = [one for one in served["/queues"] if one["state"] == "running"]
    assert kinds(queue) == kinds(running)
    assert list(totals) == list(served["/"])
    assert list(queue) == list(running)


def test_every_word_for_a_queues_state_is_told() -> None:
    (line,) = re.findall(r"^`state` is one word \((.+?)\)", DOCUMENT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == set(WORDS.values())


def test_the_port_is_that_of_the_setting() -> None:
    assert ADDRESS.endswith(f":{SETTINGS['STATUS_PORT'].default}")
    assert set(re.findall(r"192\.168\.1\.5:\d+", DOCUMENT)) == {ADDRESS}


# Homepage


FORMATS: Final[dict[str, Fits]] = {"number": is_number, "text": is_text}


def tile(word: str) -> dict[str, Any]:
    """Return the widget of the one service in the one group."""
    ((_, ((name, service),)),) = [
        (group, tuple(services[0].items())) for group, services in example(word)[0].items()
    ]
    assert name.startswith("Immich")
    widget: dict[str, Any] = service["widget"]
    assert widget["type"] == "customapi"
    return widget


def path_of(widget: Mapping[str, Any]) -> str:
    host, path = re.fullmatch(r"http://([^/]+)(/.*)", widget["url"]).groups()  # type: ignore[union-attr] # then it fails
    assert host == ADDRESS
    return str(path)


def test_the_fields_of_homepages_block_are_there_and_of_the_type_it_formats(
    served: dict[str, Any],
) -> None:
    widget = tile("field: active")
    found = served[path_of(widget)]
    assert 1 <= len(widget["mappings"]) <= 4
    for mapping in widget["mappings"]:
        assert FORMATS[mapping.get("format", "text")](found[mapping["field"]]), mapping
        assert mapping["label"]


def test_homepages_list_gets_an_array_of_objects_with_a_name_and_a_number(
    served: dict[str, Any],
) -> None:
    widget = tile("dynamic-list")
    assert "items" not in widget["mappings"], "then the array is the document itself"
    found = served[path_of(widget)]
    assert isinstance(found, list)
    mappings = widget["mappings"]
    for queue in found:
        assert is_text(queue[mappings["name"]])
        assert FORMATS[mappings["format"]](queue[mappings["label"]])


# Glance

GLANCE: Final[dict[str, Fits]] = {
    "Int": is_number,
    "String": is_text,
    "Bool": lambda value: isinstance(value, bool),
}


def test_every_path_of_glances_template_leads_to_a_value_of_the_type_it_asks_for(
    served: dict[str, Any],
) -> None:
    ((widget),) = example("custom-api")
    assert path_of(widget) == "/"
    template = widget["template"]
    assert f"http://{ADDRESS}/queues" in template
    assert template.count("{{") == template.count("}}")
    of_totals = re.findall(r"\.JSON\.(Int|String|Bool) \"(\w+)\"", template)
    assert len(of_totals) >= 4
    for kind, path in of_totals:
        assert GLANCE[kind](served["/"][path]), path
    of_queues = re.findall(r"(?<!JSON)\.(Int|String|Bool) \"(\w+)\"", template)
    assert len(of_queues) >= 4
    for kind, path in of_queues:
        assert all(GLANCE[kind](queue[path]) for queue in served["/queues"]), path
    # An empty path is the document itself.
    assert '$queues.JSON.Array ""' in template
    assert isinstance(served["/queues"], list)


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


def test_prometheus_takes_the_scrape_configuration_and_the_alerts(
    rules: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump({**example("scrape_configs"), "rule_files": [str(rules)]}))
    assert "is valid prometheus config file syntax" in promtool("check", "config", file)
    assert "3 rules found" in promtool("check", "rules", rules)


def test_the_alerts_fire_when_they_should_and_else_are_silent(rules: Path, tmp_path: Path) -> None:
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
                        "exp_alerts": [{"exp_labels": labels, "exp_annotations": told(name)}]
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


def told(alert: str) -> dict[str, str]:
    return {
        "summary": {
            "ImmichJobDaemonDown": "The Immich Job Daemon does not answer.",
            "ImmichJobDaemonProblem": "The Immich Job Daemon has a problem: key_rejected. Its page "
            "and its log say what to do.",
            "ImmichJobsFail": "In the last hour 3 more jobs of ocr have failed.",
        }[alert]
    }


def test_every_metric_is_told_and_no_other(served: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (`immich_.+?) \| ", DOCUMENT, re.MULTILINE)
    told_of = {name for row in rows for name in re.findall(r"`(immich_\w+)", row)}
    exposed = {
        f"{family.name}{'_total' if family.type == 'counter' else ''}"
        for family in text_string_to_metric_families(served["/metrics"])
    }
    assert told_of == exposed


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Run a real Prometheus that scrapes the target each second; give its address."""
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


def asked(url: str, expression: str) -> list[Any] | None:
    """Return what Prometheus answers, None while it does not."""
    try:
        answer = requests.get(f"{url}/api/v1/query", params={"query": expression}, timeout=90)
    except requests.ConnectionError:
        return None
    if answer.status_code == 503:
        return None
    found = answer.json()
    assert found["status"] == "success", (expression, found)
    result: list[Any] = found["data"]["result"]
    return result


def value_of(result: list[Any] | None) -> float:
    """Return the one value of a result, 0 while there is none."""
    return float(result[0]["value"][1]) if result else 0.0


def expressions() -> list[str]:
    """Return what the dashboard and the alerts ask for."""
    of_panels = [
        target["expr"] for panel in GRAFANA["panels"] for target in panel.get("targets", ())
    ]
    of_alerts = [rule["expr"] for rule in example("alert: ")["groups"][0]["rules"]]
    return [*of_panels, *of_alerts]


def test_a_real_prometheus_finds_something_for_everything_that_is_asked_of_it(
    tmp_path: Path,
) -> None:
    with shown(BUSY) as served, prometheus(tmp_path, served.removeprefix("http://")) as url:
        # Two samples of each, so that there are rates.
        wait_until(lambda: value_of(asked(url, "count_over_time(immich_up[1m])")) > 1)
        assert len(expressions()) > 15
        for expression in expressions():
            plain = expression.replace("$__rate_interval", "1m").replace("[1h]", "[1m]")
            assert asked(url, plain) is not None
            everything = re.sub(r" (?:>|==) [01]$", "", plain)
            assert asked(url, everything), everything
        assert value_of(asked(url, 'up{job="immich-job-daemon"}')) == 1
        waiting = asked(url, 'sum(immich_queue_jobs{state=~"waiting|paused"})')
        assert value_of(waiting) == 1242


# Grafana


def test_no_panel_of_the_dashboard_covers_another() -> None:
    panels = GRAFANA["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        assert (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        ), (one["title"], other["title"])


def test_the_dashboard_asks_for_metrics_that_there_are_of_the_source_that_is_chosen(
    served: dict[str, Any],
) -> None:
    names = {
        sample.name
        for family in text_string_to_metric_families(served["/metrics"])
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
