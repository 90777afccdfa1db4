"""The functions of fuzz/ under Hypothesis, and inspections of configs that were tampered with.

Derandomized: the same inputs in every run, so that a failure is the change's own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bevdiag.config import read_document, tree
from fuzz.targets import CORPUS, TARGETS

from .corpus import altered
from .limits import ended

SOUND = Path(__file__).resolve().parents[1] / "rules" / "pointpillar.yaml"
"""The config whose step is traced fastest."""

_WORDS = (
    b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"&a ", b"*a", b"<<: ", b"!!python/name:x ",
    b"|\n", b"'",
    b'"', b"#", b"---\n", b"%", b"\0", b"\xff", b"\x1b", "\u2028".encode(), b"-1", b"0",
    b"1e308", b".nan", b".inf", b"99999999999999999999", b"null", b"\n", b"_BASE_CONFIG_: ",
    b"POINTS ", b"COUNT ", b"element vertex ", b"GiB", b"out of memory",
)  # fmt: skip


def _bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def _tampered(draw: st.DrawFn, target: str) -> bytes:
    """A seed of the corpus with a few stretches replaced by a word, noise or a copy of another."""
    seeds = sorted(path.read_bytes() for path in (CORPUS / target).iterdir())
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 40)))
        new = draw(st.sampled_from(_WORDS) | st.binary(max_size=8) | st.just(data[start:][:200]))
        data = data[:start] + new + data[stop:]
    return data


@_bounded(80)
@given(_tampered("config"))
def test_configs_are_read_or_refused(data: bytes) -> None:
    TARGETS["config"](data)


@_bounded(300)
@given(_tampered("points"))
def test_point_files_are_read_or_refused(data: bytes) -> None:
    TARGETS["points"](data)


@_bounded(300)
@given(_tampered("log"))
def test_logs_are_read(data: bytes) -> None:
    TARGETS["log"](data)


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_read_or_refused(target: str) -> None:
    seeds = list((CORPUS / target).iterdir())
    assert seeds
    for seed in seeds:
        TARGETS[target](seed.read_bytes())


def _places(node: tree.Node, path: tuple[str, ...] = ()) -> Iterator[str]:
    if path:
        yield ".".join(path)
    if isinstance(node, tree.Section):
        for key, below in node.entries.items():
            yield from _places(below, (*path, key))
    elif isinstance(node, tree.Listing):
        for index, below in enumerate(node.items):
            yield from _places(below, (*path, str(index)))


_VALUES = st.one_of(
    st.integers(-2, 70),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
)


@_bounded(10)
@given(place=st.sampled_from(sorted(_places(read_document(SOUND).root))), value=_VALUES)
def test_a_tampered_config_is_answered_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: str, value: Any
) -> None:
    path = tmp_path_factory.mktemp("tampered") / "config.yaml"
    path.write_bytes(altered(place, value, SOUND))
    ending = ended("inspect", str(path), "--device", "meta", "--no-remedies")
    assert ending.code in (0, 1, 2, 3), ending
    assert "internal error" not in ending.err
