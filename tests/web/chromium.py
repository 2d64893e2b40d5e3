"""Debian's Chromium, driven as a person would use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

SLOWEST: Final = 120_000
"""Milliseconds after which a thing that should be seen is taken for not coming."""

LOCALES: Final = {"en": "en-GB", "de": "de-DE", "ru": "ru-RU"}


@contextmanager
def window(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 800,
    **options: Any,  # noqa: ANN401 - Playwright's own
) -> Iterator[Page]:
    """Open a window of its own, with nothing remembered; nothing may go wrong in its page."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce", **options
    )
    context.set_default_timeout(SLOWEST)
    page = context.new_page()
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"{message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
        # A browser reports what it could not load, which some tests bring about on purpose.
        assert [text for text in wrong if "Failed to load resource" not in text] == []
    finally:
        context.close()


def look_again(page: Page) -> None:
    """Let the page look at the daemon now, as it does when it comes to the front."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def violations(page: Page) -> list[str]:
    """Return what axe-core has to say against a page, a line for each kind and place."""
    found = Axe().run(page)
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways to be seen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
