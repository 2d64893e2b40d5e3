from dataclasses import replace
from datetime import date
from itertools import pairwise
from os import getpid
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmark import __main__, measure, page, plot, process, report
from benchmark.contenders import DAEMON, IDEAL, Scenario
from benchmark.contenders import measure as run
from benchmark.crowd import CrowdCost
from benchmark.expectation import Expectation
from benchmark.expected import expectations
from benchmark.forecasts import Half, Halves, smaller
from benchmark.ideal import ORDER, Ideal
from benchmark.measure import Results, measure_all
from benchmark.outcome import Outcome, percentile
from benchmark.plain import Plain
from benchmark.record import MANAGED, Record
from benchmark.table import Table
from benchmark.workloads import Arrival, album, one_photo, uploads
from immich_job_daemon.base.clock import StopRequested
from immich_job_daemon.model.queue import PRIORITY, PROTECTED
from simulator.immich.engine import Engine, Event, EventKind
from simulator.immich.pipeline import QUEUES, lasting

NOTHING = ()


def ended(record: Record) -> dict[str, tuple[float, float]]:
    return {span.queue: (span.start, span.end) for span in record.spans}


class TestRecord:
    def test_a_span_reaches_from_the_first_job_to_the_last(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.add("ocr", lasting(10), count=3)
        engine.settle()
        assert [span.queue for span in record.spans] == ["ocr"]
        start, end = ended(record)["ocr"]
        assert start == 0
        assert end == engine.now == record.last_end

    def test_a_hand_over_lasts_from_the_drained_queue_to_the_next_ones_first_job(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.pause("library")
        engine.add("ocr", lasting(10))
        engine.add("library", lasting(10))
        engine.settle()
        engine.advance(engine.now + 3)
        engine.resume("library")
        engine.settle()
        assert record.handovers == [pytest.approx(3)]
        assert record.stalled == pytest.approx(3)
        assert record.over == 0

    def test_nothing_is_handed_over_while_nothing_waits(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.add("ocr", lasting(10))
        engine.settle()
        engine.advance(engine.now + 3)
        engine.add("library", lasting(10))
        engine.settle()
        assert record.handovers == []
        assert record.stalled == 0

    def test_a_queue_that_goes_on_after_a_moment_hands_nothing_over(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.pause("library")
        engine.add("library", lasting(1))
        for _ in range(2):
            engine.add("ocr", lasting(1))
            engine.advance(engine.now + 5)
        assert [span.queue for span in record.spans] == ["ocr", "ocr"]
        assert record.handovers == []

    def test_a_drained_queue_that_nobody_waits_for_any_more_hands_nothing_over(self) -> None:
        engine = Engine()
        record = Record(engine, limit=2)
        engine.pause("library")
        engine.add("library", lasting(1))
        engine.add("ocr", lasting(10))
        engine.add("migration", lasting(12))
        engine.advance(20)
        engine.resume("library")
        engine.advance(30)
        engine.add("sidecar", lasting(1))
        engine.advance(40)
        assert len(record.handovers) == 1

    def test_seconds_over_the_limit_are_those_in_which_more_queues_run(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.add("ocr", lasting(20))
        engine.advance(5)
        engine.add("library", lasting(4))
        engine.settle()
        start, end = ended(record)["library"]
        assert start == 5
        assert record.over == pytest.approx(end - start)

    def test_protected_queues_do_not_count(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.add("ocr", lasting(20))
        engine.add("backgroundTask", lasting(20))
        engine.settle()
        assert record.over == 0

    def test_work_that_arrives_in_a_paused_queue_is_stalled_from_then_on(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        engine.pause("ocr")
        engine.advance(7)
        engine.add("ocr", lasting(1))
        record.notice()
        engine.advance(11)
        engine.resume("ocr")
        assert record.stalled == pytest.approx(4)


class TestFigures:
    @pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100)])
    def test_a_percentile_is_a_value_that_was_seen(self, share: float, value: float) -> None:
        assert percentile(reversed(range(1, 101)), share) == value

    def test_there_is_no_percentile_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="of nothing"):
            percentile([], 0.5)

    def test_runs_are_averaged_and_their_seconds_over_the_limit_added(self) -> None:
        one = run(IDEAL, album(1), 1).runs[0]
        first = replace(one, total=10, stalled=1, over=0.5, requests=10, lasted=1800)
        other = replace(one, total=20, stalled=3, over=0.25, requests=20, lasted=1800)
        outcome = Outcome((first, other))
        assert outcome.total == 15
        assert outcome.stalled == 2
        assert outcome.over == 0.75
        assert outcome.requests_an_hour == 30

    def test_exactly_the_most_is_as_expected(self) -> None:
        assert Expectation("", most=3, seen=3).is_met
        assert not Expectation("", most=3, seen=3.001).is_met

    def test_a_table_stands_in_columns(self) -> None:
        table = Table("Title", ("", "a figure"), (("name", "1"), ("longer name", "20")))
        assert table.text().splitlines() == [
            "Title",
            "-----",
            "             a figure",
            "name                1",
            "longer name        20",
        ]
        assert table.markdown().splitlines()[1] == "| --- | ---: |"


class TestPlain:
    def scenario(self, limit: int = 1) -> tuple[Scenario, Plain]:
        scenario = Scenario(NOTHING, limit, seed=0, quiet=1e6)
        return scenario, Plain(scenario.server("jobs"), scenario.alarm, limit)

    def open_queues(self, engine: Engine) -> set[str]:
        return {queue.name for queue in engine.queues.values() if not queue.is_paused}

    def test_it_pauses_all_queues_of_an_idle_server_the_internal_ones_too(self) -> None:
        scenario, plain = self.scenario()
        plain.round()
        assert self.open_queues(scenario.engine) == set()
        before = scenario.requests()
        plain.round()
        assert scenario.requests() == before + 1

    def test_it_opens_the_first_queues_with_work_when_none_is_active(self) -> None:
        scenario, plain = self.scenario(limit=2)
        plain.round()
        for name in ("ocr", "smartSearch", "videoConversion"):
            scenario.engine.add(name, lasting(100))
        plain.round()
        assert self.open_queues(scenario.engine) == {"smartSearch", "videoConversion"}

    def test_it_opens_nothing_more_while_anything_is_active(self) -> None:
        scenario, plain = self.scenario(limit=2)
        plain.round()
        scenario.engine.add("ocr", lasting(100))
        plain.round()
        scenario.engine.add("smartSearch", lasting(100))
        plain.round()
        assert self.open_queues(scenario.engine) == {"ocr"}

    def test_it_keeps_the_best_of_too_many_active_ones(self) -> None:
        scenario, plain = self.scenario()
        for name in ("ocr", "smartSearch"):
            scenario.engine.add(name, lasting(100))
        plain.round()
        assert self.open_queues(scenario.engine) == {"smartSearch"}

    def test_it_trusts_its_own_memory(self) -> None:
        scenario, plain = self.scenario()
        plain.round()
        scenario.engine.resume("metadataExtraction", by="Immich, at its start")
        before = scenario.requests()
        plain.round()
        assert scenario.requests() == before + 1
        assert self.open_queues(scenario.engine) == {"metadataExtraction"}

    def test_a_round_follows_the_end_of_the_one_before_by_ten_seconds(self) -> None:
        scenario, plain = self.scenario()
        plain.round()
        began, before = scenario.engine.now, scenario.requests()
        scenario.engine.at(began + 3600, lambda: None)
        scenario.alarm.is_over = lambda: scenario.engine.now >= began + 3600
        with pytest.raises(StopRequested):
            plain.run()
        assert scenario.requests() - before == pytest.approx(3600 / 11.2, abs=2)


class TestIdeal:
    def test_it_manages_the_daemons_queues_in_the_daemons_order(self) -> None:
        assert set(ORDER) == set(MANAGED) == set(QUEUES) - set(PROTECTED)
        assert ORDER[: len(PRIORITY)] == PRIORITY

    @pytest.mark.parametrize("limit", [1, 2])
    def test_it_loses_no_time_and_never_exceeds_the_limit(self, limit: int) -> None:
        outcome = run(IDEAL, album(1), limit)
        assert outcome.stalled == outcome.over == 0
        assert max(outcome.handovers) == 0
        assert len(outcome.all_done) == 303

    def test_a_queue_keeps_its_slot_though_a_better_one_waits(self) -> None:
        engine = Engine()
        record = Record(engine, limit=1)
        ideal = Ideal(engine, limit=1)
        engine.add("ocr", lasting(10), count=2)
        ideal.notice()
        engine.advance(1)
        engine.add("sidecar", lasting(10))
        ideal.notice()
        engine.settle()
        assert [span.queue for span in record.spans] == ["ocr", "sidecar"]

    def test_a_spare_slot_is_filled_at_the_instant_at_which_work_comes(self) -> None:
        engine = Engine()
        starts: dict[str, float] = {}
        record = Record(engine, limit=2)

        def note(event: Event) -> None:
            if event.kind is EventKind.STARTED:
                starts.setdefault(event.queue, event.time)

        engine.observers.append(note)
        ideal = Ideal(engine, limit=2)
        engine.upload(photos=20)
        ideal.notice()
        engine.settle()
        first_metadata = starts["metadataExtraction"]
        # The first of five, each of 0.1 s of a core, of which there are two.
        assert first_metadata < starts["storageTemplateMigration"] < first_metadata + 0.3
        assert record.over == 0


class TestContenders:
    def test_a_response_takes_longer_while_jobs_run(self) -> None:
        scenario = Scenario((Arrival(1.0, photos=1000),), 1, seed=0)
        idle = percentile([scenario.latency() for _ in range(999)], 0.5)
        scenario.engine.advance(2.0)
        busy = percentile([scenario.latency() for _ in range(999)], 0.5)
        assert idle == pytest.approx(0.006, rel=0.1)
        assert busy == pytest.approx(0.018, rel=0.1)

    def test_single_photos_have_the_server_for_themselves(self) -> None:
        times = [arrival.time for arrival in one_photo(50).runs[0]]
        assert len(times) == 50
        assert min(after - before for before, after in pairwise(times)) > 110

    def test_uploads_fall_into_the_reindex(self) -> None:
        outcome = run(IDEAL, uploads(2000), 2)
        assert len(outcome.thumbnails) == 200
        assert uploads(2000).runs[0][-1].time < outcome.total

    def test_the_same_run_is_the_same_again(self) -> None:
        assert run(DAEMON, one_photo(3), 1) == run(DAEMON, one_photo(3), 1)


@pytest.fixture(scope="module")
def results() -> Results:
    return measure_all(measure.QUICK, lambda _: None)


class TestForecasts:
    def halves(self, *told: float | None, is_first: bool = False) -> Halves:
        runs = tuple(Half(left=100, told=seconds, known=0.5) for seconds in told)
        return Halves(album(1), 1, is_first, runs)

    def expected(self, results: Results, halves: Halves) -> Expectation:
        found = expectations(replace(results, halves=(halves,)), None)
        (one,) = (one for one in found if "estimate at half-time" in one.what)
        return one

    def test_the_error_is_a_share_of_the_truth_and_the_worst_of_all_runs(self) -> None:
        assert self.halves(95, 110, 100).worst == pytest.approx(0.1)
        assert self.halves(80, None).worst == pytest.approx(0.2)
        assert self.halves(80, None).unknown == 1
        assert self.halves(None).worst is None

    def test_who_knows_must_tell_and_be_right(self, results: Results) -> None:
        for told, is_met in (((81, 119), True), ((79,), False), ((121,), False), ((), False)):
            runs = self.halves(*told or (None, 100))
            assert self.expected(results, runs).is_met is is_met, told

    def test_who_sees_it_for_the_first_time_may_say_unknown_but_nothing_wrong(
        self, results: Results
    ) -> None:
        for told, is_met in (((None,), True), ((None, 79), False), ((90, None), True)):
            runs = self.halves(*told, is_first=True)
            assert self.expected(results, runs).is_met is is_met, told

    def test_a_smaller_workload_is_a_third_of_each_part(self) -> None:
        arrivals = uploads(3000).runs[0]
        third = smaller(arrivals)
        assert third[0].reindexed == 1000
        assert len(third) == 1 + 67
        assert third[-1].time - third[0].time < (arrivals[-1].time - arrivals[0].time) / 3

    def test_a_new_daemon_says_unknown_and_one_that_knows_is_known_from_the_first_second(
        self, results: Results
    ) -> None:
        assert len(results.halves) == 12
        for halves in results.halves:
            for half in halves.runs:
                assert (half.told is None) is halves.is_first
                assert half.known < 0.5 if halves.is_first else half.known > 0.8

    def test_what_is_uploaded_later_is_in_no_truth(self, results: Results) -> None:
        for halves in results.halves:
            if halves.workload.key == "uploads":
                half = results.of("uploads", DAEMON, halves.limit).total / 2
                start, *later = halves.workload.runs[0]
                are_later = [arrival for arrival in later if arrival.time > start.time + half]
                assert (halves.runs[0].left < half * 0.999) is bool(are_later)

    def test_the_table_says_unknown_and_of_how_many_runs(self, results: Results) -> None:
        runs = self.halves(None, is_first=True), self.halves(80, None)
        (table,) = (
            table
            for table in report.tables(replace(results, halves=runs), None)
            if table.title.startswith("Estimates at half-time")
        )
        assert [row[2:6] for row in table.rows] == [
            ("nothing", "100", "unknown", "–"),  # noqa: RUF001 - a dash in the right width
            ("1/3 of it", "100", "80.0 (1 of 2 unknown)", "20.0 %"),
        ]


CROWD = CrowdCost(alone=(1.0, 1.1), crowded=(1.1, 1.25, 1.3), answered=0.99)
COST = process.Cost(resident=30, peak=31.5, share=0.0012, first_look=0.2, crowd=CROWD)


class TestReport:
    def test_everything_expected_of_the_daemon_is_seen(self, results: Results) -> None:
        found = expectations(results, None)
        assert [one for one in found if not one.is_met] == []
        assert len({one.what for one in found}) == len(found) > 24

    def test_the_shell_daemon_is_as_slow_as_it_was_on_a_real_server(self, results: Results) -> None:
        rows = {row[0]: row[2] for row in report.tables(results, None)[-1].rows}
        shell = float(rows["300 photos and 3 videos, shell daemon"])
        assert shell == pytest.approx(249, rel=0.1)

    def test_the_page_has_every_figure_and_the_plot_every_queue(
        self, results: Results, tmp_path: Path
    ) -> None:
        found = expectations(results, COST)
        text = page.page(results, COST, found, "images/a.svg", date(2026, 11, 21))
        for table in (*report.tables(results, COST), report.verdict(found)):
            assert f"## {table.title}" in text
            assert table.markdown() in text
        assert "21 November 2026" in text
        assert "31.5 MiB" in text
        plot.draw(results, tmp_path / "images" / "a.svg")
        assert ET.parse(tmp_path / "images" / "a.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own

    def test_quick_writes_nothing_and_its_exit_code_is_the_verdict(
        self,
        results: Results,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(measure, "measure_all", lambda *_: results)
        monkeypatch.setattr(__main__, "PAGE", tmp_path / "benchmark.md")
        assert __main__.main(["--quick", "--virtual"]) == 0
        count = len(expectations(results, None))
        assert f"{count} of {count} as expected" in capsys.readouterr().out
        missed = [Expectation("the limit", most=0, seen=1, unit="s")]
        monkeypatch.setattr(__main__, "expectations", lambda *_: missed)
        assert __main__.main(["--virtual"]) == 1
        assert "0 of 1 as expected" in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []

    def test_output_says_where_the_page_goes(
        self, results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(measure, "measure_all", lambda *_: results)
        path = tmp_path / "docs" / "page.md"
        path.parent.mkdir()
        __main__.main(["--quick", "--virtual", "--output", str(path)])
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert (path.parent / __main__.IMAGE).exists()


class TestProcess:
    def test_the_cost_of_a_running_daemon_is_seen(self) -> None:
        cost = process.measure(process.Sample(starts=1, settle=0.0, idle=0.2, crowded=2))
        assert 5 < cost.resident <= cost.peak < 500
        assert 0 <= cost.share <= 1
        assert 0 < cost.first_look < process.LONGEST_START
        assert 0 < cost.crowd.answered <= 1
        assert min(cost.crowd.crowded) > 0

    def test_a_crowd_makes_looks_later_than_they_are_alone(self) -> None:
        assert CROWD.later == pytest.approx(0.2)
        assert CROWD.latest == pytest.approx(0.23)
        assert replace(CROWD, crowded=(0.9, 1.0)).later == 0

    def test_processor_time_grows_with_work(self) -> None:
        before = process.processor_seconds(getpid())
        while process.processor_seconds(getpid()) == before:
            sum(range(10_000))
        assert process.processor_seconds(getpid()) > before
