"""Settings for tests: the defaults with some changes."""

from typing import Unpack

from immich_job_daemon.model.settings import Settings
from simulator.worlds.virtual_daemon import SettingOverrides, settings


def settings_with(limit: int = 1, **changes: Unpack[SettingOverrides]) -> Settings:
    """Return the default settings with ``limit`` as MAX_CONCURRENT_JOBS and other changes."""
    changes["max_concurrent_jobs"] = limit
    return settings(**changes)
