"""The order of the tools, and the far registry's pace."""

from collections import Counter

import pytest

from bench.cases import CASES, Case, image_bytes
from bench.rounds import turns
from bench.slow_proxy import Pace
from bench.tools import Copy, Tool, find_tools


def tool(name: str) -> Tool:
    def command(program: str, copy: Copy) -> list[str]:
        return [program, copy.source, copy.target]

    return Tool(name, name, "1", command)


def test_every_tool_has_one_turn_in_a_round_and_each_is_first_once() -> None:
    tools = [tool(name) for name in "abc"]
    rounds = [turns(tools, number) for number in range(3)]

    assert all(Counter(one.name for one in turn) == Counter("abc") for turn in rounds)
    assert {turn[0].name for turn in rounds} == set("abc")


def test_a_far_connection_keeps_to_its_rate() -> None:
    pace = Pace(1000.0, 0.0, now=0.0)

    waits = [pace.wait_before(500, now=0.0) for _ in range(4)]

    assert waits == pytest.approx([0.5, 1.0, 1.5, 2.0])


def test_a_far_connection_delays_its_handshake_and_every_answer() -> None:
    pace = Pace(1e9, 0.03, now=0.0)
    pace.asked(now=0.0)
    first = pace.wait_before(1, now=0.0)
    pace.asked(now=5.0)

    assert first == pytest.approx(0.06)
    assert pace.wait_before(1, now=5.0) == pytest.approx(0.03)


def test_time_that_nobody_used_is_not_made_up_for() -> None:
    pace = Pace(1000.0, 0.0, now=0.0)
    pace.wait_before(1000, now=0.0)

    assert pace.wait_before(1000, now=50.0) == pytest.approx(1.0, abs=0.021)


def test_a_sleep_that_was_a_little_too_long_is_made_up_for() -> None:
    pace = Pace(1000.0, 0.0, now=0.0)
    first = pace.wait_before(100, now=0.0)

    assert pace.wait_before(100, now=first + 0.004) == pytest.approx(0.1 - 0.004)


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "small"], ids=lambda case: case.name)
def test_the_size_scales_every_large_case(case: Case) -> None:
    assert image_bytes(case.make(32)) > 1.5 * image_bytes(case.make(16))


def test_the_index_shares_one_layer_between_its_platforms() -> None:
    index = next(case for case in CASES if case.all_platforms).make(16)

    assert len(index.manifests) == 6
    assert len(index.blobs) == 5 + 5 * 2 + 1


def test_the_small_case_has_40_layers_of_its_own_each() -> None:
    small = next(case for case in CASES if case.name == "small").make(16)

    assert len(small.blobs) == 41


def test_every_tool_found_is_told_both_references() -> None:
    copy = Copy("127.0.0.1:1/a:1", "127.0.0.1:2/b:1", all_platforms=True)

    for found in find_tools():
        words = " ".join(found.copy(copy))
        assert copy.source in words
        assert copy.target in words
