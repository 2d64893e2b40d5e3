"""Settings that are valid each for itself and make no sense together, or with this Immich."""

from collections.abc import Iterator

from immich_job_daemon.model.settings import Settings


def conflicting_settings(settings: Settings) -> Iterator[str]:
    """Yield a warning, one line each, for what has no effect beside another setting."""
    protected = settings.protected_queues
    scheduled = {name for window in settings.schedule for name in window.queues or ()}
    for name in sorted(scheduled & protected):
        yield f"SCHEDULE: {name} is in PROTECTED_QUEUES, so its window has no effect"
    for group in settings.exclusive:
        left, gone = sorted(group - protected), ", ".join(sorted(group & protected))
        if not left:
            yield f"EXCLUSIVE: {gone} are all in PROTECTED_QUEUES, so their group has no effect"
        elif len(left) == 1:
            yield (
                f"EXCLUSIVE: {gone} in PROTECTED_QUEUES leaves {left[0]} alone in its group, "
                "which has no effect"
            )


def unknown_queues(settings: Settings, names: frozenset[str]) -> Iterator[str]:
    """Yield a warning, one line each, for every queue that is named and that Immich has not.

    Args:
        settings: what the user wants.
        names: of the queues that Immich reports.
    """
    scheduled = [name for window in settings.schedule for name in sorted(window.queues or ())]
    grouped = [name for group in settings.exclusive for name in sorted(group)]
    for setting, named in (("SCHEDULE", scheduled), ("EXCLUSIVE", grouped)):
        for name in dict.fromkeys(named):
            if name not in names:
                yield (
                    f"{setting}: Immich has no queue {name}, so this has no effect. It has: "
                    f"{', '.join(sorted(names))}"
                )
