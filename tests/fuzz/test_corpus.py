"""Replay of the fuzz inputs that script/fuzz kept."""

import pytest

from tests.fuzz.targets import TARGETS
from tests.support.repository import ROOT

CORPUS = ROOT / "tests" / "corpus"
MAX_BYTES = 200_000


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_is_handled(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) > 20
    for path in inputs:
        data = path.read_bytes()
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{path.name}: {data!r}") from error


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
