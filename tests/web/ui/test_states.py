"""Every reason has a state, a sentence, and a shape, in every language."""

import re
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from immich_job_daemon.model.controls import Mode, Override
from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.web.ui import states
from immich_job_daemon.web.ui.i18n import PLURALS, words
from immich_job_daemon.web.ui.panel import MODE_ICONS
from immich_job_daemon.web.ui.rows import WISH_ICONS
from immich_job_daemon.web.ui.states import ICONS, Case, state

CASES: Final = [
    Case(Queue("ocr", is_paused=is_paused, active=active, waiting=waiting), override, mode, ahead)
    for is_paused, active, waiting, override, mode, ahead in product(
        (True, False), (0, 3), (0, 5), Override, Mode, (0, 2)
    )
]


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", PLURALS)
def test_every_state_can_be_said(reason: Reason, language: str) -> None:
    say = words(language)
    for case in CASES:
        found = state(reason, case)
        assert say(f"state.{found.name}")
        why = f"why.{found.why}"
        assert say(why) if found.number is None else say.many(why, found.number)
        assert found.name in ICONS


def test_every_shape_is_there() -> None:
    folder = Path(states.__file__).parent
    style = (folder / "static" / "page.css").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^\.i-(\w+) \{ clip-path: path", style, re.MULTILINE))
    named = {*ICONS.values(), *WISH_ICONS.values(), *MODE_ICONS.values()}
    for path in (folder / "templates").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        named |= {one or two for one, two in re.findall(r'icon\("(\w+)"\)|"i i-(\w+)"', text)}
    assert named == drawn


def case(
    *, override: Override = Override.AUTOMATIC, mode: Mode = Mode.AUTOMATIC, **queue: int
) -> Case:
    return Case(Queue("ocr", is_paused=False, **queue), override, mode, 2)


def test_one_that_is_wanted_next_says_so_while_it_waits_and_while_it_runs() -> None:
    assert state(Reason.WAITING, case(override=Override.NEXT)).name == "next"
    assert state(Reason.RUNNING, case(override=Override.NEXT)).why == "running_next"


def test_a_held_one_that_still_works_says_what_it_finishes() -> None:
    assert state(Reason.HELD_BY_USER, case(active=3)) == ("held", "held_busy", 3)
    assert state(Reason.HELD_BY_USER, case(mode=Mode.HELD)).why == "held_all"


def test_an_open_one_says_whether_a_person_wanted_that() -> None:
    assert state(Reason.UNRESTRICTED, case(mode=Mode.OPEN, active=1)) == ("running", "open", None)
    assert state(Reason.UNRESTRICTED, case()).why == "unrestricted"


def test_a_protected_one_that_is_paused_stands_out() -> None:
    paused = Case(Queue("search", is_paused=True), Override.AUTOMATIC, Mode.AUTOMATIC, 0)
    assert state(Reason.PROTECTED, paused).name == "stopped"
    assert state(Reason.PROTECTED, case()).name == "protected"
