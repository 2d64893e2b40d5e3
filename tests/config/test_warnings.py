"""What makes no sense together, or with the Immich that answers, is said and says which and why."""

from datetime import time

from immich_job_daemon.config.warnings import conflicting_settings, unknown_queues
from immich_job_daemon.model.windows import Window
from simulator.worlds.virtual_daemon import settings

NAMES = frozenset({"ocr", "library", "editor"})


def window(*queues: str) -> Window:
    return Window(frozenset(queues) or None, time(22), time(6))


def test_the_defaults_contradict_nothing() -> None:
    assert list(conflicting_settings(settings())) == []
    assert list(unknown_queues(settings(), NAMES)) == []


def test_a_window_for_a_protected_queue_has_no_effect() -> None:
    wanted = settings(
        schedule=(window("ocr", "editor"), window("backupDatabase", "library", "editor")),
        protected_queues=frozenset({"editor", "backupDatabase"}),
    )
    assert list(conflicting_settings(wanted)) == [
        "SCHEDULE: backupDatabase is in PROTECTED_QUEUES, so its window has no effect",
        "SCHEDULE: editor is in PROTECTED_QUEUES, so its window has no effect",
    ]


def test_a_window_for_all_is_one_for_all_that_are_not_protected() -> None:
    assert list(conflicting_settings(settings(schedule=(window(),)))) == []


def test_a_group_of_which_one_is_left_excludes_nothing() -> None:
    wanted = settings(
        exclusive=(
            frozenset({"ocr", "smartSearch"}),
            frozenset({"editor", "ocr"}),
            frozenset({"editor", "ocr", "library"}),
            frozenset({"editor", "search"}),
        ),
        protected_queues=frozenset({"editor", "search"}),
    )
    assert list(conflicting_settings(wanted)) == [
        "EXCLUSIVE: editor in PROTECTED_QUEUES leaves ocr alone in its group, which has no effect",
        "EXCLUSIVE: editor, search are all in PROTECTED_QUEUES, so their group has no effect",
    ]


def test_a_queue_that_immich_has_not_is_named_once_for_each_setting_with_those_it_has() -> None:
    wanted = settings(
        schedule=(window("ocr", "ORC"), window("ORC", "videos"), window()),
        exclusive=(frozenset({"ocr", "ORC"}), frozenset({"ORC", "library"})),
    )
    assert list(unknown_queues(wanted, NAMES)) == [
        "SCHEDULE: Immich has no queue ORC, so this has no effect. It has: editor, library, ocr",
        "SCHEDULE: Immich has no queue videos, so this has no effect. It has: editor, library, ocr",
        "EXCLUSIVE: Immich has no queue ORC, so this has no effect. It has: editor, library, ocr",
    ]


def test_what_immich_has_is_no_warning() -> None:
    wanted = settings(schedule=(window("ocr"),), exclusive=(frozenset({"ocr", "library"}),))
    assert list(unknown_queues(wanted, NAMES)) == []
