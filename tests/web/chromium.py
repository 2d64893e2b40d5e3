"""Drives Debian's Chromium as a user would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

SLOWEST: Final = 120_000
"""Milliseconds after which an expected element counts as missing."""

LOCALES: Final = {"en": "en-GB", "de": "de-DE", "ru": "ru-RU"}


@contextmanager
def window(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 800,
    **options: Any,  # noqa: ANN401 - passed to Playwright
) -> Iterator[Page]:
    """Open a window with an empty profile; fail if the page logs an error."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce", **options
    )
    context.set_default_timeout(SLOWEST)
    page = context.new_page()
    errors: list[str] = []

    def record(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} {message.location}")

    page.on("console", record)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
        # Some tests make requests fail on purpose, which browsers report as errors.
        assert [text for text in errors if "Failed to load resource" not in text] == []
    finally:
        context.close()


def refresh(page: Page) -> None:
    """Make the page refresh now, as it does when it becomes visible."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def violations(page: Page) -> list[str]:
    """Return the accessibility problems that axe-core finds, one line each."""
    results = Axe().run(page)
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]


def fits(page: Page) -> bool:
    """Whether the page fits without horizontal scrolling."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
