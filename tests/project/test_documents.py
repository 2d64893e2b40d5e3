"""The documents match the code: options, examples, messages, defaults, in both languages."""

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
HOME_ASSISTANT_MESSAGES: Final = {"Missing option 'API_KEY'"}


def section(heading: str) -> str:
    """Return the text from a heading to the next one of the same or a higher level."""
    level = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", DOCS, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def string_literals() -> list[str]:
    """Return every string literal of the package, with adjacent ones joined."""
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


def test_every_option_has_a_section_with_its_translated_name() -> None:
    headings = re.findall(r"^### (\w+): (.+)$", section("## Options"), re.MULTILINE)
    assert headings == [(name, ENGLISH[name]["name"]) for name in CONFIG["schema"]]


@pytest.mark.parametrize("name", list(CONFIG["schema"]))
def test_every_option_has_a_valid_example(name: str) -> None:
    text = section(f"### {name}: {ENGLISH[name]['name']}")
    (example,) = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    options = yaml.safe_load(example)
    assert options.keys() == {name}
    if str(options[name]).startswith("!secret "):
        options[name] = "resolved-by-the-supervisor"
    _, warnings = read_settings({}, {"API_KEY": "x", **options})
    assert warnings == []


def test_the_example_of_protected_queues_is_the_default_plus_one() -> None:
    text = section(f"### PROTECTED_QUEUES: {ENGLISH['PROTECTED_QUEUES']['name']}")
    (example,) = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    names = yaml.safe_load(example)["PROTECTED_QUEUES"]
    assert ",".join(names[:-1]) == SETTINGS["PROTECTED_QUEUES"].default


def test_the_default_order_is_documented() -> None:
    default = str(SETTINGS["QUEUE_PRIORITY"].default).replace(",", ", ")
    for text in (DOCS, *READMES.values()):
        assert default in " ".join(text.split())


def test_troubleshooting_quotes_enough_messages() -> None:
    assert len(quoted_messages()) > 20


@pytest.mark.parametrize("message", quoted_messages())
def test_every_quoted_message_is_in_the_code(message: str) -> None:
    if message in HOME_ASSISTANT_MESSAGES:
        assert CONFIG["schema"]["API_KEY"] == "password"
        return
    # The error of a setting is assembled from two parts.
    parts = [part for part in message.split("expected ") if part] or [message]
    assert any(part in text for part in parts for text in string_literals()), message


def test_every_internal_link_leads_to_a_heading() -> None:
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
    """Return the code blocks without trailing comments."""
    blocks = re.findall(r"```\w+\n(.+?)```", text, re.DOTALL)
    return [re.sub(r" +# .*", "", block) for block in blocks]


def test_both_readmes_have_the_same_structure() -> None:
    english, russian = READMES["README.md"], READMES["README.ru.md"]
    table = settings_table(english)
    assert [row for row in settings_table(russian) if row[0] != "QUEUE_PRIORITY"] == [
        row for row in table if row[0] != "QUEUE_PRIORITY"
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
def test_every_table_has_the_same_number_of_cells_in_each_row(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table
