"""The page in Chromium: accessibility, layout, updates and controls."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from immich_job_daemon.model.controls import Mode, Override, SetLimit, SetMode, SetQueue
from immich_job_daemon.model.queue import LONGEST_NAME, Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.hub import StatusHub
from immich_job_daemon.status.status import ProblemKind, Status
from immich_job_daemon.web.ui.i18n import PLURALS
from tests.web.chromium import LOCALES, fits, refresh, violations, window
from tests.web.ui.page_server import page as serve
from tests.web.ui.sample_statuses import all_paused, busy, dry_run, empty, starting, with_problem

GATEWAY: Final = "127.0.0.1"
FOCUSED: Final = "document.activeElement"
Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


def fullest() -> Status:
    """Return the status with the most on the page: a problem and a change to undo."""
    return replace(
        with_problem(ProblemKind.KEY_REJECTED, "it does"), undo=SetQueue("ocr", Override.HELD)
    )


@pytest.fixture
def hub() -> StatusHub:
    return StatusHub(busy())


@pytest.fixture
def url(hub: StatusHub) -> Iterator[str]:
    """Serve the page with its controls, as the add-on does."""
    with serve(hub, gateway=GATEWAY) as address:
        yield address


@pytest.fixture
def here(browser: Browser, url: str) -> Iterator[Page]:
    with window(browser, locale="en-GB", timezone_id="Asia/Kolkata") as page:
        page.goto(url)
        yield page


def row(page: Page, name: str) -> str:
    return page.locator(f'[data-key="{name}"]').first.inner_text()


@pytest.mark.parametrize("language", PLURALS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_violation_and_nothing_is_cut_off(
    browser: Browser, url: str, hub: StatusHub, scheme: Scheme, language: str
) -> None:
    with window(browser, color_scheme=scheme, locale=LOCALES[language]) as page:
        hub.publish(fullest())
        page.goto(url)
        expect(page.locator("html")).to_have_attribute("lang", language)
        for summary in page.locator("summary").all():
            summary.click()
        for width in (360, 1920):
            page.set_viewport_size({"width": width, "height": 1000})
            assert violations(page) == []
            assert fits(page)


@pytest.mark.parametrize(
    "status",
    [busy(), all_paused(), starting(), dry_run()],
    ids=["busy", "paused", "starting", "dry run"],
)
def test_axe_finds_no_violation_whatever_the_status(
    browser: Browser, url: str, hub: StatusHub, status: Status
) -> None:
    hub.publish(status)
    with window(browser) as page:
        page.goto(url)
        page.get_by_role("button", name="Run everything").click()
        expect(page.locator("#toast")).not_to_be_empty()
        assert violations(page) == []


@pytest.mark.parametrize("password", ["", "secret"])
def test_axe_finds_no_violation_without_controls(
    browser: Browser, hub: StatusHub, password: str
) -> None:
    with serve(hub, password=password) as url, window(browser) as page:
        page.goto(url)
        assert violations(page) == []


@pytest.mark.parametrize("language", PLURALS)
def test_no_width_needs_horizontal_scrolling(
    browser: Browser, url: str, hub: StatusHub, language: str
) -> None:
    hub.publish(fullest())
    with window(browser, locale=LOCALES[language]) as page:
        page.goto(url)
        expect(page.locator("html")).to_have_attribute("lang", language)
        for width in (320, 480, 600, 768, 900, 1024, 1400, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            assert fits(page), width


def test_the_names_of_queues_have_room_at_any_width(browser: Browser, url: str) -> None:
    with window(browser) as page:
        page.goto(url)
        name = page.get_by_role("heading", name="Storage template migration")
        for width in (320, 480, 600, 768, 900, 1024, 1366, 1440, 1536, 1720, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            box = name.bounding_box()
            assert box is not None
            assert box["width"] >= 80, width


@pytest.mark.parametrize("width", [360, 1280])
def test_every_button_is_large_enough_for_a_finger(
    browser: Browser, url: str, hub: StatusHub, width: int
) -> None:
    hub.publish(replace(busy(), undo=SetMode(Mode.HELD)))
    with window(browser, width=width) as page:
        page.goto(url)
        for button in page.locator("main button, summary").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44, button.inner_text()


def test_long_names_and_names_with_markup_do_no_harm(
    browser: Browser, url: str, hub: StatusHub
) -> None:
    names = [
        "<img src=x onerror=alert(1)>",
        "x" * 3000,
        "\u202egnp.exe",
        'a" onclick="alert(1)',
        "y" * LONGEST_NAME,
    ]
    hub.publish(
        replace(
            busy(),
            queues={name: Queue(name, is_paused=False, active=1) for name in names},
            order=tuple(names),
            reasons=dict.fromkeys(names, Reason.RUNNING),
        )
    )
    with window(browser, width=360) as page:
        page.on("dialog", lambda _: pytest.fail("a script in a queue's name was run"))
        page.goto(url)
        expect(
            page.get_by_role("heading", name="<img src=x onerror=alert(1)>").first
        ).to_be_visible()
        hold = page.get_by_role("button", name="Hold")
        # Immich has no such names, so changes to them are rejected.
        hold.first.click()
        expect(page.locator("#toast")).to_contain_text("Invalid request.")
        assert hub.take_changes() == []
        hold.last.click()
        expect(page.locator("#toast")).to_contain_text("Immich finishes the 1 running job")
        assert hub.take_changes() == [SetQueue(names[-1], Override.HELD)]
        assert fits(page)


# Updates


def test_the_page_updates_itself(here: Page, hub: StatusHub) -> None:
    expect(here.locator("#headline")).to_contain_text("Generating thumbnails")
    hub.publish(empty())
    expect(here.locator("#headline")).to_have_text("Nothing to do")
    expect(here).to_have_title(re.compile("^Nothing to do . Immich Jobs$"))
    expect(here.locator("#announcement")).to_have_text("Nothing to do")


def test_an_update_keeps_the_focus_and_open_details(here: Page, hub: StatusHub) -> None:
    here.get_by_text("6 queues that the daemon does not manage").click()
    button = here.locator('[data-key="ocr"]').get_by_role("button", name="Run next")
    button.focus()
    hub.publish(empty())
    refresh(here)
    expect(here.locator("#headline")).to_have_text("Nothing to do")
    expect(button).to_be_focused()
    expect(here.locator("details.unmanaged")).to_have_attribute("open", "")
    hub.publish(with_problem())
    refresh(here)
    expect(here.get_by_role("heading", name="Immich is not responding")).to_be_visible()
    expect(button).to_be_focused()


def test_queues_can_appear_disappear_and_move(here: Page, hub: StatusHub) -> None:
    status = busy()
    fewer = tuple(name for name in status.order if name not in {"sidecar", "smartSearch"})
    hub.publish(replace(status, order=fewer))
    refresh(here)
    expect(here.locator('ol [data-key="smartSearch"]')).to_have_count(0)
    expect(here.locator("ol.list > li")).to_have_count(11)
    hub.publish(replace(status, order=tuple(reversed(status.order))))
    refresh(here)
    expect(here.locator("ol.list > li")).to_have_count(13)
    expect(here.locator("ol.list > li").first).to_have_attribute("data-key", "integrityCheck")


def test_the_page_says_when_the_daemon_does_not_respond_and_recovers(
    browser: Browser, hub: StatusHub
) -> None:
    with window(browser) as page:
        with serve(hub, gateway=GATEWAY) as url:
            page.goto(url)
        refresh(page)
        expect(page.get_by_role("alert")).to_have_text("The daemon is not responding. Retrying …")
        page.route("**/now", lambda route: route.fulfill(body=fragment(hub)))
        refresh(page)
        expect(page.get_by_role("alert")).to_be_hidden()


def fragment(hub: StatusHub) -> str:
    with serve(hub, gateway=GATEWAY) as url:
        return requests.get(f"{url}now", timeout=90).text


def test_times_are_in_the_readers_time_zone(here: Page, hub: StatusHub) -> None:
    hub.publish(with_problem())
    refresh(here)
    since = here.locator(".problem time").first
    expect(since).to_have_attribute("datetime", "2026-11-25T09:40:05Z")
    expect(since).to_have_text(re.compile("15:10"))


def test_without_javascript_everything_can_be_read(browser: Browser, url: str) -> None:
    with window(browser, java_script_enabled=False) as page:
        page.goto(url)
        expect(page.locator("#headline")).to_contain_text("Generating thumbnails")
        expect(page.locator("main button").first).to_be_hidden()
        expect(page.get_by_text("The controls need JavaScript.")).to_be_visible()
        page.get_by_text("Show as table").click()
        expect(page.get_by_role("table")).to_be_visible()


# Changes


def test_a_click_says_at_once_what_it_will_do_and_can_be_undone(here: Page, hub: StatusHub) -> None:
    here.locator('[data-key="thumbnailGeneration"]').get_by_role("button", name="Hold").click()
    toast = here.locator("#toast")
    expect(toast).to_contain_text("Immich finishes the 3 running jobs of Thumbnail generation")
    assert hub.take_changes() == [SetQueue("thumbnailGeneration", Override.HELD)]
    toast.get_by_role("button", name="Undo").click()
    expect(toast).to_contain_text("Thumbnail generation runs in order of priority again.")
    assert hub.take_changes() == [SetQueue("thumbnailGeneration", Override.AUTOMATIC)]
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_be_empty()


def test_two_quick_clicks_are_two_changes(here: Page, hub: StatusHub) -> None:
    # In one script: the page could poll between two clicks from here.
    more = here.get_by_role("button", name="One more")
    more.evaluate(
        """button => {
          const send = window.fetch;
          let open = 0;
          window.maxOpen = 0;
          window.fetch = async (url, options) => {
            const isChange = options.method === "POST";
            window.maxOpen = Math.max(window.maxOpen, (open += isChange));
            const response = await send(url, options);
            open -= isChange;
            return response;
          };
          button.click();
          button.click();
        }"""
    )
    expect(here.locator("#toast")).to_contain_text("up to 4 queues")
    assert hub.take_changes() == [SetLimit(3), SetLimit(4)]
    # Concurrent requests could overtake each other.
    assert here.evaluate("window.maxOpen") == 1


def test_the_limit_cannot_go_below_1(here: Page, hub: StatusHub) -> None:
    hub.publish(replace(busy(), limit=1))
    refresh(here)
    fewer = here.get_by_role("button", name="One fewer")
    expect(fewer).to_have_attribute("aria-disabled", "true")
    fewer.click(force=True)
    here.get_by_role("button", name="One more").click()
    expect(here.locator("#toast")).to_contain_text("up to 2 queues")
    assert hub.take_changes() == [SetLimit(2)]


def test_a_rejection_is_shown(here: Page, hub: StatusHub) -> None:
    hub.publish(busy())
    hold = here.locator('ol [data-key="ocr"]').get_by_role("button", name="Hold")
    # In one script: the next poll would restore the key.
    hold.evaluate(
        """button => {
          button.closest("[data-key]").dataset.key = "notifications";
          button.click();
        }"""
    )
    expect(here.locator("#toast")).to_contain_text("The daemon does not manage Notifications")
    assert hub.take_changes() == []


def test_all_controls_can_be_reached_by_keyboard(here: Page, hub: StatusHub) -> None:
    """From the top with the tab key: the skip link, the modes and the limit."""
    names = []
    for _ in range(8):
        here.keyboard.press("Tab")
        names.append(
            here.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel")
        )
        outline = here.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    assert names == [
        "Skip to the queues",
        "Automatic",
        "Run everything",
        "Pause everything",
        "One fewer",
        "One more",
        "Reset to 1",
        names[7],
    ]
    here.keyboard.press("Shift+Tab")
    here.keyboard.press("Enter")
    expect(here.locator("#toast")).to_contain_text("The configured limit applies again")
    assert hub.take_changes() == [SetLimit(None)]


def test_icons_and_bars_have_tooltips(here: Page) -> None:
    button = here.locator('[data-key="ocr"] [data-override="next"]')
    button.hover()
    expect(button).to_have_attribute("title", "Run next")
    bar = here.locator(".slots rect").first
    bar.hover(force=True)
    tooltip = re.compile(r"^Metadata extraction: \d+:\d+ . \d+:\d+$")
    expect(bar.locator("title")).to_have_text(tooltip)


def test_screen_readers_get_names_states_and_numbers(here: Page) -> None:
    queue = here.locator('ol [data-key="facialRecognition"]')
    group = queue.get_by_role("group", name="Facial recognition")
    expect(group.get_by_role("button", name="Hold")).to_have_attribute("aria-pressed", "true")
    expect(here.get_by_role("progressbar", name="Overall progress")).to_be_visible()
    assert [line for line in row(here, "facialRecognition").split("\n") if line][:4] == [
        "Facial recognition",
        "You put it on hold; no new jobs start.",
        "On hold",
        "Waiting",
    ]


# Signing in


def test_signing_in_unlocks_the_controls(browser: Browser, hub: StatusHub) -> None:
    credentials = {"username": "user", "password": "the-password"}
    with (
        serve(hub, password="the-password") as url,
        window(browser, http_credentials=credentials) as page,
    ):
        page.goto(url)
        expect(page.locator("main button")).to_have_count(0)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_role("button", name="Pause everything").click()
        expect(page.locator("#toast")).to_contain_text("Immich finishes the 5 running jobs")
        assert hub.take_changes() == [SetMode(Mode.HELD)]
        page.reload()
        expect(page.get_by_role("button", name="Pause everything")).to_be_visible()
