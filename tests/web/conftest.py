"""A browser for all tests of one process: to start it takes longer than to use it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.web.chromium import ARGUMENTS, PROGRAM


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=[*ARGUMENTS])
        yield chromium
        chromium.close()
