"""Warnings about settings that are valid but have no effect, because of each other or of Immich."""

from collections.abc import Iterator

from immich_job_daemon.model.settings import Settings


def conflicting_settings(settings: Settings) -> Iterator[str]:
    """Yield a line for each value that has no effect because of another setting."""
    protected = settings.protected_queues
    scheduled = {name for window in settings.schedule for name in window.queues or ()}
    for name in sorted(scheduled & protected):
        yield f"SCHEDULE: {name} is in PROTECTED_QUEUES, so its window has no effect"
    for group in settings.exclusive:
        managed, removed = sorted(group - protected), ", ".join(sorted(group & protected))
        if not managed:
            yield f"EXCLUSIVE: {removed} are all in PROTECTED_QUEUES, so their group has no effect"
        elif len(managed) == 1:
            yield (
                f"EXCLUSIVE: the group of {managed[0]} has no effect, because the rest of it is in "
                f"PROTECTED_QUEUES: {removed}"
            )


def unknown_queues(settings: Settings, names: frozenset[str]) -> Iterator[str]:
    """Yield a line for each queue in the settings that is not among Immich's ``names``.

    QUEUE_PRIORITY and PROTECTED_QUEUES may name queues of other versions of Immich, as their
    defaults do, so they cause no warning.
    """
    scheduled = [name for window in settings.schedule for name in sorted(window.queues or ())]
    grouped = [name for group in settings.exclusive for name in sorted(group)]
    for setting, used in (("SCHEDULE", scheduled), ("EXCLUSIVE", grouped)):
        for name in dict.fromkeys(used):
            if name not in names:
                yield (
                    f"{setting}: Immich has no queue {name}, so this has no effect. Its queues "
                    f"are: {', '.join(sorted(names))}"
                )
