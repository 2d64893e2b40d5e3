from dataclasses import replace
from datetime import date
from itertools import pairwise
from os import getpid
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmark import __main__, page, process_cost, report
from benchmark.contenders import DAEMON, IDEAL, ORDER, Ideal, ShellDaemon, measure
from benchmark.features import ForecastResult, HalftimeForecast, smaller
from benchmark.process_cost import LoadResult
from benchmark.report import Table
from benchmark.results import QUICK, Expectation, Results, expectations, measure_all
from benchmark.scenario import (
    MANAGED,
    Arrival,
    Outcome,
    QueueRecorder,
    Scenario,
    album,
    one_photo,
    percentile,
    uploads,
)
from immich_job_daemon.base.clock import StopRequested
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES, lasting

NO_ARRIVALS = ()


def spans_by_queue(recorder: QueueRecorder) -> dict[str, tuple[float, float]]:
    return {span.queue: (span.start, span.end) for span in recorder.spans}


class TestQueueRecorder:
    def test_a_span_lasts_from_the_first_job_to_the_last(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.add("ocr", lasting(10), count=3)
        engine.settle()
        assert [span.queue for span in recorder.spans] == ["ocr"]
        start, end = spans_by_queue(recorder)["ocr"]
        assert start == 0
        assert end == engine.now == recorder.last_end

    def test_a_hand_over_lasts_until_the_first_job_of_the_next_queue(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.pause("library")
        engine.add("ocr", lasting(10))
        engine.add("library", lasting(10))
        engine.settle()
        engine.advance(engine.now + 3)
        engine.resume("library")
        engine.settle()
        assert recorder.handovers == [pytest.approx(3)]
        assert recorder.stalled == pytest.approx(3)
        assert recorder.over == 0

    def test_without_waiting_jobs_there_is_no_hand_over(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.add("ocr", lasting(10))
        engine.settle()
        engine.advance(engine.now + 3)
        engine.add("library", lasting(10))
        engine.settle()
        assert recorder.handovers == []
        assert recorder.stalled == 0

    def test_a_queue_that_continues_after_a_moment_is_no_hand_over(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.pause("library")
        engine.add("library", lasting(1))
        for _ in range(2):
            engine.add("ocr", lasting(1))
            engine.advance(engine.now + 5)
        assert [span.queue for span in recorder.spans] == ["ocr", "ocr"]
        assert recorder.handovers == []

    def test_there_is_no_hand_over_when_no_queue_waits_any_more(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=2)
        engine.pause("library")
        engine.add("library", lasting(1))
        engine.add("ocr", lasting(10))
        engine.add("migration", lasting(12))
        engine.advance(20)
        engine.resume("library")
        engine.advance(30)
        engine.add("sidecar", lasting(1))
        engine.advance(40)
        assert len(recorder.handovers) == 1

    def test_time_over_the_limit_is_the_time_in_which_too_many_queues_run(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.add("ocr", lasting(20))
        engine.advance(5)
        engine.add("library", lasting(4))
        engine.settle()
        start, end = spans_by_queue(recorder)["library"]
        assert start == 5
        assert recorder.over == pytest.approx(end - start)

    def test_protected_queues_are_not_recorded(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.add("ocr", lasting(20))
        engine.add("backgroundTask", lasting(20))
        engine.settle()
        assert recorder.over == 0

    def test_jobs_that_are_added_to_a_paused_queue_count_as_stalled(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        engine.pause("ocr")
        engine.advance(7)
        engine.add("ocr", lasting(1))
        recorder.jobs_added()
        engine.advance(11)
        engine.resume("ocr")
        assert recorder.stalled == pytest.approx(4)


class TestFigures:
    @pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100)])
    def test_a_percentile_is_one_of_the_values(self, share: float, value: float) -> None:
        assert percentile(reversed(range(1, 101)), share) == value

    def test_a_percentile_needs_values(self) -> None:
        with pytest.raises(ValueError, match="of nothing"):
            percentile([], 0.5)

    def test_an_outcome_averages_its_runs_and_adds_their_time_over_the_limit(self) -> None:
        one = measure(IDEAL, album(1), 1).runs[0]
        first = replace(one, total=10, stalled=1, over=0.5, requests=10, duration=1800)
        other = replace(one, total=20, stalled=3, over=0.25, requests=20, duration=1800)
        outcome = Outcome((first, other))
        assert outcome.total == 15
        assert outcome.stalled == 2
        assert outcome.over == 0.75
        assert outcome.requests_an_hour == 30

    def test_an_expectation_is_met_at_exactly_the_maximum(self) -> None:
        assert Expectation("", maximum=3, measured=3).is_met
        assert not Expectation("", maximum=3, measured=3.001).is_met

    def test_a_table_has_aligned_columns(self) -> None:
        table = Table("Title", ("", "a figure"), (("name", "1"), ("longer name", "20")))
        assert table.text().splitlines() == [
            "Title",
            "-----",
            "             a figure",
            "name                1",
            "longer name        20",
        ]
        assert table.markdown().splitlines()[1] == "| --- | ---: |"


class TestShellDaemon:
    def scenario(self, limit: int = 1) -> tuple[Scenario, ShellDaemon]:
        scenario = Scenario(NO_ARRIVALS, limit, seed=0, quiet=1e6)
        return scenario, ShellDaemon(scenario.client("jobs"), scenario.clock, limit)

    def open_queues(self, engine: Engine) -> set[str]:
        return {queue.name for queue in engine.queues.values() if not queue.is_paused}

    def test_it_pauses_all_queues_of_an_idle_server_even_the_internal_ones(self) -> None:
        scenario, shell = self.scenario()
        shell.round()
        assert self.open_queues(scenario.engine) == set()
        before = scenario.requests()
        shell.round()
        assert scenario.requests() == before + 1

    def test_it_resumes_the_first_queues_with_a_backlog_if_none_is_active(self) -> None:
        scenario, shell = self.scenario(limit=2)
        shell.round()
        for name in ("ocr", "smartSearch", "videoConversion"):
            scenario.engine.add(name, lasting(100))
        shell.round()
        assert self.open_queues(scenario.engine) == {"smartSearch", "videoConversion"}

    def test_it_resumes_no_other_queue_while_one_is_active(self) -> None:
        scenario, shell = self.scenario(limit=2)
        shell.round()
        scenario.engine.add("ocr", lasting(100))
        shell.round()
        scenario.engine.add("smartSearch", lasting(100))
        shell.round()
        assert self.open_queues(scenario.engine) == {"ocr"}

    def test_it_keeps_the_first_by_priority_of_too_many_active_queues(self) -> None:
        scenario, shell = self.scenario()
        for name in ("ocr", "smartSearch"):
            scenario.engine.add(name, lasting(100))
        shell.round()
        assert self.open_queues(scenario.engine) == {"smartSearch"}

    def test_it_does_not_notice_changes_by_others(self) -> None:
        scenario, shell = self.scenario()
        shell.round()
        scenario.engine.resume("metadataExtraction", by="Immich, at its start")
        before = scenario.requests()
        shell.round()
        assert scenario.requests() == before + 1
        assert self.open_queues(scenario.engine) == {"metadataExtraction"}

    def test_it_waits_ten_seconds_between_two_rounds(self) -> None:
        scenario, shell = self.scenario()
        shell.round()
        began, before = scenario.engine.now, scenario.requests()
        scenario.engine.at(began + 3600, lambda: None)
        scenario.clock.is_over = lambda: scenario.engine.now >= began + 3600
        with pytest.raises(StopRequested):
            shell.run()
        assert scenario.requests() - before == pytest.approx(3600 / 11.2, abs=2)


class TestIdeal:
    def test_it_manages_the_same_queues_as_the_daemon_in_the_same_order(self) -> None:
        assert set(ORDER) == set(MANAGED) == set(QUEUES) - set(PROTECTED)
        assert ORDER[: len(PRIORITY)] == PRIORITY

    @pytest.mark.parametrize("limit", [1, 2])
    def test_it_wastes_no_time_and_never_exceeds_the_limit(self, limit: int) -> None:
        outcome = measure(IDEAL, album(1), limit)
        assert outcome.stalled == outcome.over == 0
        assert max(outcome.handovers) == 0
        assert len(outcome.all_done) == 303

    def test_a_queue_keeps_its_slot_while_one_of_higher_priority_waits(self) -> None:
        engine = Engine()
        recorder = QueueRecorder(engine, limit=1)
        ideal = Ideal(engine, limit=1)
        engine.add("ocr", lasting(10), count=2)
        ideal.jobs_added()
        engine.advance(1)
        engine.add("sidecar", lasting(10))
        ideal.jobs_added()
        engine.settle()
        assert [span.queue for span in recorder.spans] == ["ocr", "sidecar"]

    def test_a_free_slot_is_filled_at_the_moment_at_which_jobs_arrive(self) -> None:
        engine = Engine()
        starts: dict[str, float] = {}
        recorder = QueueRecorder(engine, limit=2)

        def note(event: Event) -> None:
            if event.kind is EventKind.STARTED:
                starts.setdefault(event.queue, event.time)

        engine.observers.append(note)
        ideal = Ideal(engine, limit=2)
        engine.upload(photos=20)
        ideal.jobs_added()
        engine.settle()
        first_metadata = starts["metadataExtraction"]
        # Five jobs of 0.1 s each share two cores; the first one ends after 0.25 s.
        assert first_metadata < starts["storageTemplateMigration"] < first_metadata + 0.3
        assert recorder.over == 0


class TestContenders:
    def test_response_times_are_longer_while_jobs_run(self) -> None:
        scenario = Scenario((Arrival(1.0, photos=1000),), 1, seed=0)
        idle = percentile([scenario.latency() for _ in range(999)], 0.5)
        scenario.engine.advance(2.0)
        busy = percentile([scenario.latency() for _ in range(999)], 0.5)
        assert idle == pytest.approx(0.006, rel=0.1)
        assert busy == pytest.approx(0.018, rel=0.1)

    def test_single_photos_arrive_at_an_idle_server(self) -> None:
        times = [arrival.time for arrival in one_photo(50).runs[0]]
        assert len(times) == 50
        assert min(after - before for before, after in pairwise(times)) > 110

    def test_uploads_arrive_during_the_reindex(self) -> None:
        outcome = measure(IDEAL, uploads(2000), 2)
        assert len(outcome.thumbnails) == 200
        assert uploads(2000).runs[0][-1].time < outcome.total

    def test_a_run_is_reproducible(self) -> None:
        assert measure(DAEMON, one_photo(3), 1) == measure(DAEMON, one_photo(3), 1)


@pytest.fixture(scope="module")
def results() -> Results:
    return measure_all(QUICK, lambda _: None)


class TestForecasts:
    def result_of(self, *forecasts: float | None, is_first: bool = False) -> ForecastResult:
        """Return the result of runs with these forecasts and an actual time of 100 s."""
        runs = tuple(
            HalftimeForecast(actual=100, forecast=forecast, share_known=0.5)
            for forecast in forecasts
        )
        return ForecastResult(album(1), 1, is_first, runs)

    def expectation(self, results: Results, result: ForecastResult) -> Expectation:
        found = expectations(replace(results, forecasts=(result,)), None)
        (one,) = (one for one in found if "forecast at half-time" in one.what)
        return one

    def test_the_worst_error_is_the_largest_share_of_the_actual_time(self) -> None:
        assert self.result_of(95, 110, 100).worst_error == pytest.approx(0.1)
        assert self.result_of(80, None).worst_error == pytest.approx(0.2)
        assert self.result_of(80, None).unknown == 1
        assert self.result_of(None).worst_error is None

    def test_a_daemon_that_knows_the_workload_must_make_a_good_forecast(
        self, results: Results
    ) -> None:
        for forecasts, is_met in (
            ((81, 119), True),
            ((79,), False),
            ((121,), False),
            ((), False),
        ):
            result = self.result_of(*forecasts or (None, 100))
            assert self.expectation(results, result).is_met is is_met, forecasts

    def test_the_first_forecast_may_be_unknown_but_not_wrong(self, results: Results) -> None:
        for forecasts, is_met in (((None,), True), ((None, 79), False), ((90, None), True)):
            result = self.result_of(*forecasts, is_first=True)
            assert self.expectation(results, result).is_met is is_met, forecasts

    def test_a_smaller_workload_is_a_third_of_each_part(self) -> None:
        arrivals = uploads(3000).runs[0]
        third = smaller(arrivals)
        assert third[0].reindexed == 1000
        assert len(third) == 1 + 67
        assert third[-1].time - third[0].time < (arrivals[-1].time - arrivals[0].time) / 3

    def test_only_a_daemon_that_knows_the_workload_has_a_forecast_from_the_start(
        self, results: Results
    ) -> None:
        assert len(results.forecasts) == 12
        for result in results.forecasts:
            for run in result.runs:
                assert (run.forecast is None) is result.is_first
                assert run.share_known < 0.5 if result.is_first else run.share_known > 0.8

    def test_the_actual_time_excludes_later_uploads(self, results: Results) -> None:
        for result in results.forecasts:
            if result.workload.key == "uploads":
                half = results.of("uploads", DAEMON, result.limit).total / 2
                start, *later = result.workload.runs[0]
                are_later = [arrival for arrival in later if arrival.time > start.time + half]
                assert (result.runs[0].actual < half * 0.999) is bool(are_later)

    def test_the_table_shows_how_many_forecasts_are_unknown(self, results: Results) -> None:
        found = self.result_of(None, is_first=True), self.result_of(80, None)
        (table,) = (
            table
            for table in report.tables(replace(results, forecasts=found), None)
            if table.title.startswith("Forecasts at half-time")
        )
        assert [row[2:6] for row in table.rows] == [
            ("nothing", "100", "unknown", "–"),  # noqa: RUF001 - an en dash, on purpose
            ("1/3 of it", "100", "80.0 (1 of 2 unknown)", "20.0 %"),
        ]


LOAD = LoadResult(unloaded=(1.0, 1.1), loaded=(1.1, 1.25, 1.3), answered=0.99)
COST = process_cost.ProcessCost(resident=30, peak=31.5, cpu_share=0.0012, first_poll=0.2, load=LOAD)


class TestReport:
    def test_the_daemon_meets_all_expectations(self, results: Results) -> None:
        found = expectations(results, None)
        assert [one for one in found if not one.is_met] == []
        assert len({one.what for one in found}) == len(found) > 24

    def test_the_shell_daemon_is_as_slow_as_on_a_real_server(self, results: Results) -> None:
        rows = {row[0]: row[2] for row in report.tables(results, None)[-1].rows}
        shell = float(rows["300 photos and 3 videos, shell daemon"])
        assert shell == pytest.approx(249, rel=0.1)

    def test_the_page_has_all_tables_and_the_plot_is_an_svg(
        self, results: Results, tmp_path: Path
    ) -> None:
        found = expectations(results, COST)
        text = page.page(results, COST, found, "images/a.svg", date(2026, 11, 21))
        for table in (*report.tables(results, COST), report.verdict(found)):
            assert f"## {table.title}" in text
            assert table.markdown() in text
        assert "21 November 2026" in text
        assert "31.5 MiB" in text
        page.draw_plot(results, tmp_path / "images" / "a.svg")
        assert ET.parse(tmp_path / "images" / "a.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own

    def test_a_quick_run_writes_no_file_and_its_exit_code_is_the_verdict(
        self,
        results: Results,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr("benchmark.results.measure_all", lambda *_: results)
        monkeypatch.setattr(__main__, "PAGE", tmp_path / "benchmark.md")
        assert __main__.main(["--quick", "--virtual"]) == 0
        count = len(expectations(results, None))
        assert f"{count} of {count} expectations are met" in capsys.readouterr().out
        missed = [Expectation("the limit", maximum=0, measured=1, unit="s")]
        monkeypatch.setattr(__main__, "expectations", lambda *_: missed)
        assert __main__.main(["--virtual"]) == 1
        assert "0 of 1 expectations are met" in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []

    def test_output_sets_the_path_of_the_page(
        self, results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("benchmark.results.measure_all", lambda *_: results)
        path = tmp_path / "docs" / "page.md"
        path.parent.mkdir()
        __main__.main(["--quick", "--virtual", "--output", str(path)])
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert (path.parent / __main__.IMAGE).exists()


class TestProcess:
    def test_the_cost_of_a_running_daemon_is_measured(self) -> None:
        cost = process_cost.measure(
            process_cost.CostSizes(starts=1, settle=0.0, idle=0.2, loaded=2)
        )
        assert 5 < cost.resident <= cost.peak < 500
        assert 0 <= cost.cpu_share <= 1
        assert 0 < cost.first_poll < process_cost.START_TIMEOUT
        assert 0 < cost.load.answered <= 1
        assert min(cost.load.loaded) > 0

    def test_the_delay_of_polls_under_load_is_never_negative(self) -> None:
        assert LOAD.median_delay == pytest.approx(0.2)
        assert LOAD.tail_delay == pytest.approx(0.23)
        assert replace(LOAD, loaded=(0.9, 1.0)).median_delay == 0

    def test_cpu_time_grows_with_work(self) -> None:
        before = process_cost.cpu_seconds(getpid())
        while process_cost.cpu_seconds(getpid()) == before:
            sum(range(10_000))
        assert process_cost.cpu_seconds(getpid()) > before
