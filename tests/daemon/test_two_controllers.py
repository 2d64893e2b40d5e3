"""Two controllers of one Immich: a second daemon, or the shell daemon (rule 21)."""

import heapq
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmark.contenders import SHELL_INTERVAL, ShellDaemon
from immich_job_daemon.model.queue import PROTECTED
from immich_job_daemon.scheduler.attribution import CONFLICT_BACKOFF
from immich_job_daemon.status.status import ProblemKind
from simulator.immich import KEY
from simulator.immich.api import Api, Key
from simulator.immich.engine import Event
from simulator.immich.pipeline import lasting
from simulator.immich.virtual_time import VirtualTransport
from simulator.worlds.virtual_daemon import VirtualClient, VirtualDaemonClock
from tests.cli.test_main import daemon, stop
from tests.support.immich_server import is_idle, is_under_control, paused, simulated_immich_server
from tests.support.scenario import FACES, MANAGED, SEARCH, VIDEO, Scenario
from tests.support.waiting import wait_until

WORK = (SEARCH, FACES, VIDEO)
SETTLING_TIME = 5.0
"""Seconds until the jobs that were active at the start are finished."""
Round = Callable[[], float]


class SharedImmich:
    """An Immich that two controllers share; notes when more than one queue runs at once."""

    def __init__(self, scenario: Scenario) -> None:
        self.engine = scenario.engine
        self.violations = list[tuple[float, set[str]]]()
        scenario.add_backlog(*WORK, count=800)
        self.engine.observers.append(self._check_limit)

    def _check_limit(self, event: Event) -> None:
        active = {name for name in MANAGED if self.engine.queues[name].active}
        if event.time > SETTLING_TIME and len(active) > 1:
            self.violations.append((event.time, active))

    def run_rounds(self, *rounds: Round) -> None:
        """Run the rounds of each controller, at the intervals they return, until Immich is idle."""
        due = [(self.engine.now + 3.0 * number, number) for number in range(len(rounds))]
        while not self.engine.is_idle:
            when, number = heapq.heappop(due)
            self.engine.advance(max(when, self.engine.now))
            heapq.heappush(due, (self.engine.now + rounds[number](), number))


def test_rule_21_one_of_two_daemons_backs_off_and_reports_the_conflict() -> None:
    first = Scenario(queue_priority=(SEARCH, FACES), max_wait=120.0)
    second = Scenario(beside=first, queue_priority=(FACES, SEARCH), max_wait=120.0)
    shared = SharedImmich(first)
    reported: dict[str, float] = {}
    texts: list[str] = []

    def second_round() -> float:
        wait = second.daemon.round()
        problem = second.daemon.status.problem
        if problem is not None:
            assert problem.kind is ProblemKind.CONTESTED
            texts.append(problem.text)
            for name in WORK:
                if name in problem.text:
                    reported.setdefault(name, shared.engine.now)
        return wait

    first.daemon.connect()
    second.daemon.connect()
    shared.run_rounds(first.daemon.round, second_round)
    assert shared.violations == [], "both together exceeded the limit"
    assert reported, "the conflict was not reported"
    assert texts[-1].startswith(f"Something else keeps pausing {', '.join(sorted(WORK))}: ")
    for name, since in reported.items():
        requests = zip(second.recorder.times, second.recorder.sent, strict=True)
        commands = {f"pause {name}", f"resume {name}"}
        times = [time for time, request in requests if request in commands and time > since]
        assert all(later - earlier >= CONFLICT_BACKOFF for earlier, later in pairwise(times))
    first.daemon.stop()
    second.daemon.stop()
    assert first.paused() == set()


def test_rule_21_two_real_daemons_process_everything_and_leave_nothing_paused(
    tmp_path: Path,
) -> None:
    orders = (SEARCH, FACES), (FACES, SEARCH)
    folders = [tmp_path / order[0] for order in orders]
    with simulated_immich_server() as server, ExitStack() as running:
        processes = []
        for folder, order in zip(folders, orders, strict=True):
            folder.mkdir()
            options = {"POLL_INTERVAL": 1, "QUEUE_PRIORITY": ",".join(order)}
            processes.append(running.enter_context(daemon(server, folder, **options)))
            wait_until(lambda: is_under_control(server))
        logs = [folder / "log.txt" for folder in folders]
        wait_until(lambda: all("Connected to Immich" in log.read_text() for log in logs))
        with server.present() as engine:
            for name in WORK:
                engine.add(name, lasting(0.2), count=30)
        wait_until(lambda: is_idle(server))
        for process in processes:
            stop(process)
        assert paused(server) == set()


def test_rule_21_a_tool_that_pauses_and_resumes_is_reported_for_both_queues() -> None:
    scenario = Scenario()
    scenario.daemon.connect()
    scenario.add_backlog(SEARCH, FACES, count=800)

    def interfere() -> None:
        scenario.engine.pause(SEARCH, by="another tool")
        scenario.engine.resume(FACES, by="another tool")
        scenario.engine.at(scenario.engine.now + 30.0, undo)

    def undo() -> None:
        scenario.engine.resume(SEARCH, by="another tool")
        scenario.engine.at(scenario.engine.now + 30.0, interfere)

    def text() -> str:
        problem = scenario.daemon.status.problem
        return problem.text if problem is not None else ""

    scenario.engine.at(30.0, interfere)
    scenario.run_rounds(lambda: " keeps resuming faceDetection and pausing smartSearch: " in text())


def test_rule_21_beside_the_shell_daemon_only_its_own_pauses_are_left() -> None:
    scenario = Scenario(queue_priority=(FACES, SEARCH))
    shared = SharedImmich(scenario)
    # The shell daemon speaks the jobs API, which lets it pause every queue.
    jobs_api = Api(scenario.engine, keys={KEY: Key()}, serves=frozenset({"jobs"}))
    server = VirtualClient(VirtualTransport(scenario.engine, jobs_api, KEY))
    shell = ShellDaemon(server, VirtualDaemonClock(scenario.engine), limit=1)

    def shell_round() -> float:
        shell.round()
        return SHELL_INTERVAL

    scenario.daemon.connect()
    shared.run_rounds(scenario.daemon.round, shell_round)
    assert shared.violations == [], "both together exceeded the limit"
    scenario.daemon.stop()
    assert scenario.paused() <= set(PROTECTED), "only the shell daemon pauses protected queues"
