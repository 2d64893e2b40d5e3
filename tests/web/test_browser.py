"""From clicks in Chromium through the real daemon to the simulated Immich."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from immich_job_daemon.model.controls import Mode, SetMode
from immich_job_daemon.status.hub import StatusHub
from simulator.immich.pipeline import lasting
from simulator.immich.ports import free_port
from simulator.immich.server import SimulatedServer
from tests.cli.test_main import daemon, stop
from tests.support.immich_server import MANAGED, paused, simulated_immich_server
from tests.support.waiting import TIMEOUT, wait_until
from tests.web.chromium import window
from tests.web.ingress import GATEWAY, PATH, ingress
from tests.web.ui.page_server import page as serve
from tests.web.ui.sample_statuses import busy

PASSWORD: Final = "the-password"
LIBRARY: Final = "External libraries"
OCR: Final = "Text recognition (OCR)"


@contextmanager
def open_page(server: SimulatedServer, folder: Path, browser: Browser) -> Iterator[Page]:
    """Run the daemon, open its page and sign in."""
    port = free_port()
    options = {"UI_PORT": port, "UI_PASSWORD": PASSWORD, "POLL_INTERVAL": 1}
    with daemon(server, folder, **options) as process:
        wait_until(lambda: is_ready(port))
        credentials = {"username": "user", "password": PASSWORD}
        with window(browser, locale="en-GB", http_credentials=credentials) as page:
            page.goto(f"http://127.0.0.1:{port}/sign-in")
            expect(page.locator("ol.list > li")).to_have_count(len(MANAGED))
            yield page
        stop(process)


def is_ready(port: int) -> bool:
    try:
        response = requests.get(f"http://127.0.0.1:{port}/now", timeout=TIMEOUT)
    except requests.ConnectionError:
        return False
    return "thumbnailGeneration" in response.text


def add(server: SimulatedServer, queue: str, seconds: float, count: int) -> None:
    with server.present() as engine:
        engine.add(queue, lasting(seconds), count=count)


def row(page: Page, name: str) -> Locator:
    return page.locator(f'ol [data-key="{name}"]')


def chip(page: Page, name: str) -> Locator:
    return row(page, name).locator(".chip")


def click(page: Page, name: str, override: str) -> None:
    row(page, name).get_by_role("button", name=override).click()


def test_the_page_follows_a_queue_until_it_is_empty(browser: Browser, tmp_path: Path) -> None:
    with simulated_immich_server() as server, open_page(server, tmp_path, browser) as page:
        expect(page.locator("#headline")).to_have_text("Nothing to do")
        expect(page.get_by_text("Immich 3.1.0")).to_be_visible()
        add(server, "ocr", 0.25, count=30)
        expect(page.locator("#headline")).to_have_text(
            re.compile("^Recognising text: [123]?[0-9] jobs? left")
        )
        expect(chip(page, "ocr")).to_have_text("Running")
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.locator(".lane", has_text=OCR).locator("rect[x]").first).to_be_attached()
        expect(page.locator("#headline")).to_have_text("Nothing to do")
        expect(page.get_by_role("progressbar")).to_have_count(0)
        with server.present() as engine:
            assert engine.is_idle


def test_overrides_take_effect(browser: Browser, tmp_path: Path) -> None:
    """The library runs; it is held, then released, then runs before a queue ahead of it."""
    with simulated_immich_server() as server, open_page(server, tmp_path, browser) as page:
        add(server, "library", 0.5, count=4000)
        expect(chip(page, "library")).to_have_text("Running")
        add(server, "ocr", 0.5, count=4000)
        expect(chip(page, "ocr")).to_have_text("Waiting")

        click(page, "library", "Hold")
        expect(page.locator("#toast")).to_contain_text(
            re.compile(f"Immich finishes the [1-5] running jobs? of {LIBRARY}")
        )
        wait_until(lambda: "library" in paused(server) and "ocr" not in paused(server))
        expect(chip(page, "library")).to_have_text("On hold")
        expect(chip(page, "ocr")).to_have_text("Running")

        page.locator("#toast").get_by_role("button", name="Undo").click()
        expect(chip(page, "library")).to_have_text("Waiting")
        assert "library" in paused(server)

        add(server, "smartSearch", 0.5, count=4000)
        expect(chip(page, "smartSearch")).to_have_text("Waiting")
        click(page, "library", "Run next")
        expect(page.locator("#toast")).to_contain_text("gets the next free slot")
        expect(chip(page, "library")).to_have_text("Next")
        with server.present() as engine:
            engine.empty("ocr")
        wait_until(lambda: "library" not in paused(server))
        assert "smartSearch" in paused(server)
        expect(chip(page, "library")).to_have_text("Running")

        page.locator(".undo").get_by_role("button", name="Undo").click()
        expect(page.locator("#toast")).to_contain_text("runs in order of priority again")


def test_the_modes_and_the_limit_take_effect(browser: Browser, tmp_path: Path) -> None:
    with simulated_immich_server() as server, open_page(server, tmp_path, browser) as page:
        for name in ("smartSearch", "library", "ocr"):
            add(server, name, 0.5, count=4000)
        expect(chip(page, "smartSearch")).to_have_text("Running")
        wait_until(lambda: paused(server) == MANAGED - {"smartSearch"})

        page.get_by_role("button", name="One more").click()
        expect(page.locator("#toast")).to_contain_text("up to 2 queues run at a time")
        wait_until(lambda: paused(server) == MANAGED - {"smartSearch", "library"})
        page.get_by_role("button", name="Reset to 1").click()
        expect(page.locator("#toast")).to_contain_text(
            "The configured limit applies again: 1 queue"
        )
        wait_until(lambda: len(MANAGED - paused(server)) == 1)

        page.get_by_role("button", name="Run everything").click()
        expect(page.locator("#toast")).to_contain_text("All 13 queues may run at once")
        wait_until(lambda: paused(server) == set())
        expect(page.locator("#headline")).to_contain_text("and 1 more queue")
        page.locator(".undo").get_by_role("button", name="Undo").click()
        wait_until(lambda: len(MANAGED - paused(server)) == 1)

        page.get_by_role("button", name="Pause everything").click()
        wait_until(lambda: paused(server) == MANAGED)
        expect(page.locator("#headline")).to_have_text(
            re.compile(r"^Everything is paused; [\d,]+ jobs are waiting$")
        )


def test_overrides_modes_and_the_undo_survive_a_restart(browser: Browser, tmp_path: Path) -> None:
    with simulated_immich_server() as server:
        with open_page(server, tmp_path, browser) as page:
            click(page, "ocr", "Hold")
            expect(chip(page, "ocr")).to_have_text("On hold")
            page.get_by_role("button", name="Pause everything").click()
            wait_until(lambda: paused(server) == MANAGED)
            expect(page.get_by_role("button", name="Pause everything")).to_have_attribute(
                "aria-pressed", "true"
            )
        assert paused(server) == set()
        with open_page(server, tmp_path, browser) as page:
            wait_until(lambda: paused(server) == MANAGED)
            expect(page.get_by_role("button", name="Pause everything")).to_have_attribute(
                "aria-pressed", "true"
            )
            page.locator(".undo").get_by_role("button", name="Undo").click()
            wait_until(lambda: paused(server) == MANAGED - {"metadataExtraction"})
            expect(row(page, "ocr").get_by_role("button", name="Hold")).to_have_attribute(
                "aria-pressed", "true"
            )
            expect(chip(page, "ocr")).to_have_text("On hold")


def test_the_page_says_when_immich_does_not_respond(browser: Browser, tmp_path: Path) -> None:
    with simulated_immich_server() as server, open_page(server, tmp_path, browser) as page:
        with server.present() as engine:
            engine.restart(downtime=3600)
        expect(page.get_by_role("heading", name="Immich is not responding")).to_be_visible()
        expect(page.locator("#headline")).to_have_text("Waiting for Immich")
        with server.present() as engine:
            engine.advance(engine.now + 3600)
        expect(page.locator("#headline")).to_have_text("Nothing to do")
        expect(page.locator(".problem")).to_have_count(0)


# In the add-on


def test_the_add_on_answers_only_home_assistant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_TOKEN", "x")
    port = free_port()
    with simulated_immich_server() as server, daemon(server, tmp_path, UI_PORT=port) as process:

        def fetch() -> requests.Response | None:
            try:
                return requests.get(f"http://127.0.0.1:{port}/", timeout=TIMEOUT)
            except requests.ConnectionError:
                return None

        wait_until(lambda: fetch() is not None)
        response = fetch()
        assert response is not None
        assert (response.status_code, response.text) == (
            403,
            "This page can only be opened through Home Assistant.\n",
        )
        stop(process)


def test_all_urls_and_controls_work_in_home_assistants_frame(browser: Browser) -> None:
    hub = StatusHub(busy())
    with serve(hub, gateway=GATEWAY) as behind, ingress(behind) as url:
        assert requests.get(behind, timeout=TIMEOUT).status_code == 403
        with window(browser, locale="de-DE") as page:
            page.goto(url)
            frame = page.frame_locator("iframe")
            expect(frame.locator("#headline")).to_contain_text("Vorschaubilder werden erzeugt")
            font = frame.locator("#headline").evaluate("node => getComputedStyle(node).fontWeight")
            assert font == "500", "the stylesheet was not loaded"
            frame.get_by_role("button", name="Alles anhalten").click()
            expect(frame.locator("#toast")).to_contain_text("beendet die 5 laufenden Aufgaben")
            assert hub.take_changes() == [SetMode(Mode.HELD)]
            (inner,) = [other for other in page.frames if other.url.endswith(f"{PATH}/")]
            loaded: list[str] = inner.evaluate(
                "performance.getEntriesByType('resource').map(({name}) => new URL(name).pathname)"
            )
            assert len(loaded) >= 4
            assert [path for path in loaded if not path.startswith(f"{PATH}/")] == []
