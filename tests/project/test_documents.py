"""The documents say what is so: options, examples, messages, numbers, in both languages."""

import ast
import re
from typing import Any, Final

import pytest
import yaml

from immich_job_daemon.config.schema import SETTINGS, read_settings
from tests.support.repository import ROOT

DOCS: Final = (ROOT / "DOCS.md").read_text(encoding="utf-8")
CONFIG: Final[dict[str, Any]] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
ENGLISH: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "translations" / "en.yaml").read_text(encoding="utf-8")
)["configuration"]
READMES: Final = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ru.md")
}
HOME_ASSISTANTS_OWN: Final = {"Missing option 'API_KEY'"}


def section(heading: str) -> str:
    """Return what is between this heading and the next of its kind."""
    level = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", DOCS, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def in_the_code() -> list[str]:
    """Return every text in the daemon's modules, adjacent ones joined as Python joins them."""
    modules = (ROOT / "immich_job_daemon").rglob("*.py")
    return [
        node.value
        for module in modules
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def quoted_messages() -> list[str]:
    rows = re.findall(r"^\| (`.+?) \| ", section("## Troubleshooting"), re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def test_every_option_has_a_section_under_the_name_that_the_page_shows() -> None:
    headings = re.findall(r"^### (\w+): (.+)$", section("## Options"), re.MULTILINE)
    assert headings == [(name, ENGLISH[name]["name"]) for name in CONFIG["schema"]]


@pytest.mark.parametrize("name", list(CONFIG["schema"]))
def test_every_option_has_an_example_that_the_daemon_takes(name: str) -> None:
    text = section(f"### {name}: {ENGLISH[name]['name']}")
    (example,) = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    options = yaml.safe_load(example)
    assert options.keys() == {name}
    if str(options[name]).startswith("!secret "):
        options[name] = "resolved-by-the-supervisor"
    _, warnings = read_settings({}, {"API_KEY": "x", **options})
    assert warnings == []


def test_the_example_of_protected_queues_is_the_default_and_one_more() -> None:
    text = section(f"### PROTECTED_QUEUES: {ENGLISH['PROTECTED_QUEUES']['name']}")
    (example,) = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    names = yaml.safe_load(example)["PROTECTED_QUEUES"]
    assert ",".join(names[:-1]) == SETTINGS["PROTECTED_QUEUES"].default


def test_the_default_order_is_told() -> None:
    default = str(SETTINGS["QUEUE_PRIORITY"].default).replace(",", ", ")
    for text in (DOCS, *READMES.values()):
        assert default in " ".join(text.split())


def test_troubleshooting_has_the_messages_that_people_meet() -> None:
    assert len(quoted_messages()) > 20


@pytest.mark.parametrize("message", quoted_messages())
def test_every_message_to_look_for_is_one_that_the_daemon_says(message: str) -> None:
    if message in HOME_ASSISTANTS_OWN:
        assert CONFIG["schema"]["API_KEY"] == "password"
        return
    # A setting's error is put together of its parts.
    parts = [part for part in message.split("expected ") if part] or [message]
    assert any(part in text for part in parts for text in in_the_code()), message


def test_every_link_within_the_documentation_leads_to_a_heading() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", DOCS, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]+)\)", DOCS)
    assert links
    assert set(links) - anchors == set()


def settings_table(text: str) -> list[tuple[str, str]]:
    rows = re.findall(r"^\| `([A-Z_]+)` \|.*\| ?([^|]*?) ?\|$", text, re.MULTILINE)
    return [(name, default.partition(" (")[0]) for name, default in rows]


def code_blocks(text: str) -> list[str]:
    """Return what is to be typed, without the remarks beside it."""
    blocks = re.findall(r"```\w+\n(.+?)```", text, re.DOTALL)
    return [re.sub(r" +# .*", "", block) for block in blocks]


def test_both_readmes_tell_the_same() -> None:
    english, russian = READMES["README.md"], READMES["README.ru.md"]
    ordered = settings_table(english)
    assert [row for row in settings_table(russian) if row[0] != "QUEUE_PRIORITY"] == [
        row for row in ordered if row[0] != "QUEUE_PRIORITY"
    ]
    assert code_blocks(english) == code_blocks(russian)
    for kind in (r"^## ", r"^\| ", r"^- "):
        assert len(re.findall(kind, english, re.MULTILINE)) == len(
            re.findall(kind, russian, re.MULTILINE)
        ), kind
    links = r"\]\((?!README)([^)]+)\)"
    assert re.findall(links, english) == re.findall(links, russian)


@pytest.mark.parametrize("name", list(READMES))
def test_the_button_adds_this_repository(name: str) -> None:
    quoted = CONFIG["url"].replace(":", "%3A").replace("/", "%2F")
    assert f"supervisor_add_addon_repository/?repository_url={quoted})" in READMES[name]


@pytest.mark.parametrize("name", ["README.md", "README.ru.md", "DOCS.md"])
def test_every_table_has_as_many_cells_in_each_row(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table
