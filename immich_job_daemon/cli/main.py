"""The commands: what may be asked for, where the settings come from, and which code ends it.

Exit codes: 0 all is well; 1 something else is wrong, Immich away for instance; 2 a setting, the
API key or its permissions are wrong, so that trying again will not help.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import IO, Final

from immich_job_daemon import __version__
from immich_job_daemon.base.clock import StopRequested, SystemClock
from immich_job_daemon.base.errors import ImmichError, KeyRejectedError, PermissionMissingError
from immich_job_daemon.base.logging import NOTICE, configure_logging
from immich_job_daemon.config.schema import SettingsError, read_options, read_settings
from immich_job_daemon.daemon import find_server
from immich_job_daemon.daemon.dry_run import DryRunServer, ReadOnlyStore
from immich_job_daemon.daemon.ledger import Ledger, StateStore
from immich_job_daemon.daemon.loop import LIVENESS_SLACK, Daemon, load_state
from immich_job_daemon.daemon.state import DaemonState
from immich_job_daemon.immich.client import ImmichClient, ImmichServer
from immich_job_daemon.immich.transport import HttpTransport
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status

OK: Final = 0
FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (default: the process's) and return the exit code."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone. The interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="immich_job_daemon",
        description="Runs Immich's background queues by priority, at most N at once.",
        epilog="Settings come from the environment: IMMICH_URL, API_KEY, MAX_CONCURRENT_JOBS, ...",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--options",
        metavar="FILE",
        help="a JSON object of settings that win over the environment; - is standard input",
    )

    run = commands.add_parser("run", parents=[settings], help="run the queues until stopped")
    run.set_defaults(command=_run)

    check = commands.add_parser(
        "check", parents=[settings], help="say whether the daemon could do its work, change nothing"
    )
    check.set_defaults(command=_check)

    release = commands.add_parser(
        "release", parents=[settings], help="resume what a stopped daemon left paused"
    )
    release.add_argument("--all", action="store_true", help="resume every paused queue")
    release.set_defaults(command=_release)

    return parser


def _settings(given: argparse.Namespace) -> Settings | None:
    """Return the settings with the log set up for them, or None after saying what is wrong."""
    configure_logging("info", sys.stderr)
    try:
        options = read_options(given.options, _stdin()) if given.options else None
        settings, warnings = read_settings(os.environ, options)
    except SettingsError as error:
        for problem in error.problems:
            log.error("%s", problem)
        return None
    mark = "rehearsal: " if settings.dry_run and given.command is _run else ""
    configure_logging(settings.log_level, sys.stderr, secrets=settings.secrets, prefix=mark)
    for warning in warnings:
        log.warning("%s", warning)
    return settings


def _stdin() -> IO[bytes] | None:
    """Return standard input, None if it is closed.

    It has no buffer: who still reads it when a stop ends the process would hold the buffer's lock,
    and the interpreter does not end in peace without that.
    """
    return open(0, "rb", buffering=0, closefd=False) if sys.stdin else None


def _immich(settings: Settings) -> ImmichClient:
    return ImmichClient(HttpTransport(settings.immich_url, settings.api_key.reveal()))


def _found(settings: Settings) -> Settings:
    """Return the settings with Immich's address in them; raise NotImmichError if it is unknown."""
    url = settings.immich_url or find_server.find(settings.data_dir)
    return replace(settings, immich_url=url)


def _ended(error: ImmichError) -> int:
    """Say why nothing more can be done; return the exit code for it."""
    log.critical("%s", error)
    return WRONG if isinstance(error, KeyRejectedError | PermissionMissingError) else FAILED


def _run(given: argparse.Namespace) -> int:
    # Signals count from here on: a container may be stopped while it is still starting.
    with SystemClock() as alarm:
        try:
            settings = alarm.run_interruptibly(partial(_settings, given))
        except StopRequested:
            log.info("Stopped.")
            return OK
        if settings is None:
            return WRONG
        log.info(
            "Immich Job Daemon %s: at most %d of Immich's queues at once.",
            __version__,
            settings.max_concurrent_jobs,
        )
        if settings.dry_run:
            log.log(
                NOTICE,
                "DRY_RUN is set: all is decided and shown as if it were so, and nothing is sent to "
                "Immich.",
            )
        due = alarm.monotonic() + LIVENESS_SLACK
        before = Status(settings.max_concurrent_jobs, due=due, is_dry_run=settings.dry_run)
        hub = StatusHub(before, alarm.wake)
        with _serving(hub, settings), _linked(hub, settings):
            return _run_seen(settings, alarm, hub)


def _serving(hub: StatusHub, settings: Settings) -> AbstractContextManager[object]:
    """Return the context in which the board can be seen at the ports, if any are wanted."""
    if not settings.status_port and not settings.ui_port:
        return nullcontext()
    from immich_job_daemon.web.serving import serving  # noqa: PLC0415 - it takes a while to load

    is_add_on = "SUPERVISOR_TOKEN" in os.environ
    return serving(hub, settings, behind_ingress=is_add_on)


def _linked(hub: StatusHub, settings: Settings) -> AbstractContextManager[object]:
    """Return the context in which Home Assistant sees the board, if there may be a broker."""
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    if settings.mqtt_url is None and not token:
        return nullcontext()
    from immich_job_daemon.mqtt.serving import linked  # noqa: PLC0415 - the same

    return linked(hub, settings, token)


def _run_seen(settings: Settings, alarm: SystemClock, hub: StatusHub) -> int:
    """Find Immich and run its queues, with everything shown on the board."""
    ledger = _ledger(settings)
    state = load_state(ledger, settings)
    hub.publish(replace(hub.status, instance=state.instance))

    def tell(text: str, delay: float) -> None:
        before = hub.status.problem
        since = alarm.time() if before is None else before.since
        problem = Problem(ProblemKind.SEARCHING, text, since)
        due = alarm.monotonic() + delay + LIVENESS_SLACK
        hub.publish(replace(hub.status, problem=problem, due=due))

    try:
        url = settings.immich_url or find_server.wait_for(settings.data_dir, alarm, tell=tell)
    except StopRequested:
        _release_unfound(settings, alarm, ledger, state)
        log.info("Stopped.")
        return OK
    immich = _immich(replace(settings, immich_url=url))
    try:
        Daemon(
            settings,
            _server(settings, immich),
            ledger,
            alarm,
            publish=hub.publish,
            take_changes=hub.take_changes,
            state=state,
        ).run()
    except ImmichError as error:
        return _ended(error)
    finally:
        immich.close()
    log.info("Stopped.")
    return OK


def _ledger(settings: Settings) -> StateStore:
    """Return the ledger of a daemon: with DRY_RUN nothing is written there."""
    ledger = Ledger(settings.data_dir)
    return ReadOnlyStore(ledger) if settings.dry_run else ledger


def _server(settings: Settings, immich: ImmichClient) -> ImmichServer:
    """Return the server of a daemon: with DRY_RUN nothing is changed there."""
    return DryRunServer(immich) if settings.dry_run else immich


def _release_unfound(
    settings: Settings, alarm: SystemClock, ledger: StateStore, state: DaemonState
) -> None:
    """Resume what an earlier run left held, though Immich was not found: the last place may do."""
    if settings.dry_run:
        return
    url = find_server.recall(settings.data_dir) or find_server.USUAL_ADDRESSES[0]
    with closing(_immich(replace(settings, immich_url=url))) as immich:
        Daemon(settings, immich, ledger, alarm, state=state).stop()


def _check(given: argparse.Namespace) -> int:
    from immich_job_daemon.cli.check import check  # noqa: PLC0415 - the daemon has no use for it

    settings = _settings(given)
    if settings is None:
        return WRONG
    try:
        settings = _found(settings)
        return OK if check(settings, _immich(settings), sys.stdout) else FAILED
    except ImmichError as error:
        return _ended(error)


def _release(given: argparse.Namespace) -> int:
    from immich_job_daemon.cli.release import release  # noqa: PLC0415 - the same

    settings = _settings(given)
    if settings is None:
        return WRONG
    try:
        ledger = Ledger(settings.data_dir)
        is_done = release(_immich(_found(settings)), ledger, sys.stdout, every=given.all)
    except ImmichError as error:
        return _ended(error)
    return OK if is_done else FAILED
