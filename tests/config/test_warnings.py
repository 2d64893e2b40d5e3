"""Warnings about settings without effect, because of another setting or of this Immich."""

from datetime import time

from immich_job_daemon.config.warnings import conflicting_settings, unknown_queues
from immich_job_daemon.model.windows import Window
from simulator.worlds.virtual_daemon import settings

NAMES = frozenset({"ocr", "library", "editor"})


def window(*queues: str) -> Window:
    return Window(frozenset(queues) or None, time(22), time(6))


def test_the_defaults_cause_no_warning() -> None:
    assert list(conflicting_settings(settings())) == []
    assert list(unknown_queues(settings(), NAMES)) == []


def test_a_window_for_a_protected_queue_has_no_effect() -> None:
    configured = settings(
        schedule=(window("ocr", "editor"), window("backupDatabase", "library", "editor")),
        protected_queues=frozenset({"editor", "backupDatabase"}),
    )
    assert list(conflicting_settings(configured)) == [
        "SCHEDULE: backupDatabase is in PROTECTED_QUEUES, so its window has no effect",
        "SCHEDULE: editor is in PROTECTED_QUEUES, so its window has no effect",
    ]


def test_a_window_for_all_causes_no_warning_about_protected_queues() -> None:
    assert list(conflicting_settings(settings(schedule=(window(),)))) == []


def test_a_group_with_fewer_than_two_managed_queues_has_no_effect() -> None:
    configured = settings(
        exclusive=(
            frozenset({"ocr", "smartSearch"}),
            frozenset({"editor", "ocr"}),
            frozenset({"editor", "ocr", "library"}),
            frozenset({"editor", "search"}),
        ),
        protected_queues=frozenset({"editor", "search"}),
    )
    assert list(conflicting_settings(configured)) == [
        (
            "EXCLUSIVE: the group of ocr has no effect, because the rest of it is in "
            "PROTECTED_QUEUES: editor"
        ),
        "EXCLUSIVE: editor, search are all in PROTECTED_QUEUES, so their group has no effect",
    ]


def test_an_unknown_queue_is_reported_once_per_setting_together_with_the_known_ones() -> None:
    configured = settings(
        schedule=(window("ocr", "ORC"), window("ORC", "videos"), window()),
        exclusive=(frozenset({"ocr", "ORC"}), frozenset({"ORC", "library"})),
    )
    problem = "so this has no effect. Its queues are: editor, library, ocr"
    assert list(unknown_queues(configured, NAMES)) == [
        f"SCHEDULE: Immich has no queue ORC, {problem}",
        f"SCHEDULE: Immich has no queue videos, {problem}",
        f"EXCLUSIVE: Immich has no queue ORC, {problem}",
    ]


def test_known_queues_cause_no_warning() -> None:
    configured = settings(schedule=(window("ocr"),), exclusive=(frozenset({"ocr", "library"}),))
    assert list(unknown_queues(configured, NAMES)) == []
