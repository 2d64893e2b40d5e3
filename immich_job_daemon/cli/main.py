"""The command line: parses the arguments, loads the settings and runs a command.

Exit codes: 0 success; 1 a failure that may pass, such as an unreachable Immich; 2 an invalid
setting, API key or permission, so that a retry would not help; 130 interrupted by Ctrl-C.
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
from immich_job_daemon.immich.client import ImmichClient
from immich_job_daemon.immich.transport import HttpTransport
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import Problem, ProblemKind, Status

OK: Final = 0
FAILED: Final = 1
MISCONFIGURED: Final = 2
INTERRUPTED: Final = 130

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in the arguments (default: those of the process); return the exit code."""
    parsed = _create_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed the pipe. Without this, the interpreter's flush at
        # exit would print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="immich_job_daemon",
        description="Run Immich's background queues by priority, a limited number at once.",
        epilog="Settings are environment variables: IMMICH_URL, API_KEY, MAX_CONCURRENT_JOBS, ...",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--options",
        metavar="FILE",
        help="a JSON object of settings, which override the environment; - for standard input",
    )

    run = commands.add_parser("run", parents=[settings], help="run the queues until stopped")
    run.set_defaults(command=_run)

    check = commands.add_parser(
        "check", parents=[settings], help="check settings, API key and permissions; change nothing"
    )
    check.set_defaults(command=_check)

    release = commands.add_parser(
        "release", parents=[settings], help="resume the queues that a stopped daemon left paused"
    )
    release.add_argument(
        "--all", action="store_true", help="resume all paused queues, no matter what paused them"
    )
    release.set_defaults(command=_release)

    return parser


def _load_settings(arguments: argparse.Namespace) -> Settings | None:
    """Set up logging and return the settings, or log what is wrong with them and return None."""
    configure_logging("info", sys.stderr)
    try:
        options = read_options(arguments.options, _open_stdin()) if arguments.options else None
        settings, warnings = read_settings(os.environ, options)
    except SettingsError as error:
        for problem in error.problems:
            log.error("%s", problem)
        return None
    prefix = "dry run: " if settings.dry_run and arguments.command is _run else ""
    configure_logging(settings.log_level, sys.stderr, secrets=settings.secrets, prefix=prefix)
    for warning in warnings:
        log.warning("%s", warning)
    return settings


def _open_stdin() -> IO[bytes] | None:
    """Return standard input without a buffer, or None if it is closed.

    A stop may end the process while the worker thread still reads. The thread would then hold the
    buffer's lock, without which the interpreter cannot shut down cleanly.
    """
    return open(0, "rb", buffering=0, closefd=False) if sys.stdin else None


def _create_client(settings: Settings) -> ImmichClient:
    return ImmichClient(HttpTransport(settings.immich_url, settings.api_key.reveal()))


def _log_failure(error: ImmichError) -> int:
    """Log an error that ends the command; return the exit code for it."""
    log.critical("%s", error)
    return MISCONFIGURED if isinstance(error, KeyRejectedError | PermissionMissingError) else FAILED


def _run(arguments: argparse.Namespace) -> int:
    # Signals are handled from here on: a container may be stopped while it is still starting.
    with SystemClock() as clock:
        try:
            settings = clock.run_interruptibly(partial(_load_settings, arguments))
        except StopRequested:
            log.info("Stopped.")
            return OK
        if settings is None:
            return MISCONFIGURED
        log.info(
            "Immich Job Daemon %s: running at most %d of Immich's queues at once.",
            __version__,
            settings.max_concurrent_jobs,
        )
        if settings.dry_run:
            log.log(
                NOTICE,
                "DRY_RUN is set: the daemon decides and shows everything, but sends no commands to "
                "Immich.",
            )
        due = clock.monotonic() + LIVENESS_SLACK
        initial = Status(settings.max_concurrent_jobs, next_due=due, is_dry_run=settings.dry_run)
        hub = StatusHub(initial, clock.wake)
        with _serve_web(hub, settings), _publish_over_mqtt(hub, settings):
            return _run_daemon(settings, clock, hub)


def _serve_web(hub: StatusHub, settings: Settings) -> AbstractContextManager[object]:
    """Return a context that serves the page and the dashboard API on the configured ports."""
    if not settings.status_port and not settings.ui_port:
        return nullcontext()
    from immich_job_daemon.web.server import serve  # noqa: PLC0415 - slow to import

    is_add_on = "SUPERVISOR_TOKEN" in os.environ
    return serve(hub, settings, behind_ingress=is_add_on)


def _publish_over_mqtt(hub: StatusHub, settings: Settings) -> AbstractContextManager[object]:
    """Return a context that publishes to Home Assistant over MQTT if there may be a broker."""
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    if settings.mqtt_url is None and not token:
        return nullcontext()
    from immich_job_daemon.mqtt.service import mqtt_service  # noqa: PLC0415 - the same

    return mqtt_service(hub, settings, token)


def _run_daemon(settings: Settings, clock: SystemClock, hub: StatusHub) -> int:
    """Find Immich and run its queues until the daemon is stopped."""
    ledger: StateStore = Ledger(settings.data_dir)
    if settings.dry_run:
        ledger = ReadOnlyStore(ledger)
    state = load_state(ledger, settings)
    hub.publish(replace(hub.status, instance=state.instance))

    def publish_problem(text: str, delay: float) -> None:
        previous = hub.status.problem
        since = clock.time() if previous is None else previous.since
        problem = Problem(ProblemKind.SEARCHING, text, since)
        due = clock.monotonic() + delay + LIVENESS_SLACK
        hub.publish(replace(hub.status, problem=problem, next_due=due))

    try:
        url = settings.immich_url or find_server.wait_for(
            settings.data_dir, clock, on_failure=publish_problem
        )
    except StopRequested:
        _resume_paused_queues(settings, clock, ledger, state)
        log.info("Stopped.")
        return OK
    immich = _create_client(replace(settings, immich_url=url))
    try:
        Daemon(
            settings,
            DryRunServer(immich) if settings.dry_run else immich,
            ledger,
            clock,
            publish=hub.publish,
            take_changes=hub.take_changes,
            state=state,
        ).run()
    except ImmichError as error:
        return _log_failure(error)
    finally:
        immich.close()
    log.info("Stopped.")
    return OK


def _resume_paused_queues(
    settings: Settings, clock: SystemClock, ledger: StateStore, state: DaemonState
) -> None:
    """Try to resume the queues that an earlier run left paused, though the search failed.

    Immich may answer again at its last known URL.
    """
    if settings.dry_run:
        return
    url = find_server.load_last_url(settings.data_dir) or find_server.CANDIDATE_URLS[0]
    with closing(_create_client(replace(settings, immich_url=url))) as immich:
        Daemon(settings, immich, ledger, clock, state=state).stop()


def _check(arguments: argparse.Namespace) -> int:
    from immich_job_daemon.cli.check import check  # noqa: PLC0415 - not needed by `run`

    return _run_once(arguments, lambda settings, immich: check(settings, immich, sys.stdout))


def _release(arguments: argparse.Namespace) -> int:
    from immich_job_daemon.cli.release import release  # noqa: PLC0415 - not needed by `run`

    def command(settings: Settings, immich: ImmichClient) -> bool:
        return release(immich, Ledger(settings.data_dir), sys.stdout, every=arguments.all)

    return _run_once(arguments, command)


def _run_once(
    arguments: argparse.Namespace, command: Callable[[Settings, ImmichClient], bool]
) -> int:
    """Find Immich and run a command that returns whether it succeeded; return the exit code."""
    settings = _load_settings(arguments)
    if settings is None:
        return MISCONFIGURED
    try:
        url = settings.immich_url or find_server.find(settings.data_dir)
        settings = replace(settings, immich_url=url)
        return OK if command(settings, _create_client(settings)) else FAILED
    except ImmichError as error:
        return _log_failure(error)
