"""The order of the tools, who is left out, and the far registry's pace."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cases import CASES, Case, image_bytes, tagged_images
from bench.measure import CommandFailedError
from bench.results import Run
from bench.rounds import run_rounds, turns, without_bare_loop
from bench.slow_proxy import Pace
from bench.tools import NOT_ON_PATH, Commands, Copy, Mirroring, Tool, bare_loop, find_tools


def tool(name: str, program: str | None = "there") -> Tool:
    return Tool(name, program, "1", Commands())


def silent(_: str) -> None:
    """Say nothing."""


def attempt(seen: list[str], failing: str = "") -> Callable[[Tool], Run]:
    def run(one: Tool) -> Run:
        seen.append(one.name)
        if one.name == failing:
            raise CommandFailedError("ended with 1")
        return Run(float(len(seen)), 1.0, 20.0)

    return run


def test_every_tool_has_one_turn_in_a_round_and_each_is_first_once() -> None:
    tools = [tool(name) for name in "abc"]
    rounds = [turns(tools, number) for number in range(3)]

    assert all(Counter(one.name for one in turn) == Counter("abc") for turn in rounds)
    assert {turn[0].name for turn in rounds} == set("abc")


def test_the_first_round_does_not_count() -> None:
    seen: list[str] = []
    (only,) = run_rounds([tool("a")], 3, attempt(seen), silent)

    assert len(seen) == 4
    assert [run.wall_seconds for run in only.runs] == [2.0, 3.0, 4.0]


def test_tool_that_is_not_there_is_named_and_never_started() -> None:
    seen: list[str] = []
    _, absent = run_rounds([tool("a"), tool("b", program=None)], 2, attempt(seen), silent)

    assert set(seen) == {"a"}
    assert (absent.tool, absent.problem, absent.runs) == ("b", NOT_ON_PATH, ())


def test_tool_that_fails_once_is_out_with_its_reason() -> None:
    seen: list[str] = []
    _, failed = run_rounds([tool("a"), tool("b")], 2, attempt(seen, failing="b"), silent)

    assert seen.count("b") == 1
    assert (failed.problem, failed.runs) == ("ended with 1", ())


def test_bare_loop_takes_turns_and_is_no_tool() -> None:
    seen: list[str] = []
    copied, bare = without_bare_loop(run_rounds([tool("a"), bare_loop()], 2, attempt(seen), silent))

    assert seen == ["a", "a bare loop", "a bare loop", "a", "a", "a bare loop"]
    assert [result.tool for result in copied] == ["a"]
    assert bare is not None
    assert len(bare.runs) == 2
    assert without_bare_loop(copied) == (copied, None)


def test_a_far_connection_keeps_to_its_rate() -> None:
    pace = Pace(1000.0, 0.0, now=0.0)

    assert [pace.arrival(500, sent_at=0.0) for _ in range(4)] == pytest.approx([0.0, 0.5, 1.0, 1.5])


def test_a_far_connection_delays_its_handshake_and_all_that_comes_back() -> None:
    pace = Pace(1e9, 0.03, now=0.0)

    assert pace.arrival(1, sent_at=0.03) == pytest.approx(0.06)
    assert pace.arrival(1, sent_at=5.0) == pytest.approx(5.03)


def test_what_is_under_way_is_not_delayed_by_what_is_asked_meanwhile() -> None:
    pace = Pace(1000.0, 0.5, now=0.0)
    arrivals = [pace.arrival(100, sent_at=0.1 * number) for number in range(20)]

    assert [later - sooner for sooner, later in itertools.pairwise(arrivals)] == pytest.approx([0.1] * 19)


def test_time_that_nobody_used_is_not_made_up_for() -> None:
    pace = Pace(1000.0, 0.0, now=0.0)
    pace.arrival(1000, sent_at=0.0)

    assert pace.arrival(1000, sent_at=50.0) == pytest.approx(50.0)
    assert pace.arrival(1000, sent_at=50.0) == pytest.approx(51.0)


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "small"], ids=lambda case: case.name)
def test_the_size_scales_every_large_case(case: Case) -> None:
    assert image_bytes(case.make(32, 1)) > 1.5 * image_bytes(case.make(16, 1))


def test_the_index_shares_one_layer_between_its_platforms() -> None:
    index = next(case for case in CASES if case.all_platforms).make(16, 1)

    assert len(index.manifests) == 6
    assert len(index.blobs) == 5 + 5 * 2 + 1


def test_the_small_case_has_40_layers_of_its_own_each() -> None:
    small = next(case for case in CASES if case.name == "small").make(16, 1)

    assert len(small.blobs) == 41


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_another_run_copies_other_content(case: Case) -> None:
    assert not case.make(16, 1).blobs.keys() & case.make(16, 2000).blobs.keys()


def test_every_tag_is_an_image_of_its_own() -> None:
    images = tagged_images(20, 1)

    assert len({image.digest for image in images.values()}) == 20
    assert len({digest for image in images.values() for digest in image.blobs}) == 40


def test_every_tool_is_told_both_references() -> None:
    copy = Copy("127.0.0.1:1/a:1", "127.0.0.1:2/b:1", all_platforms=True)

    copying = [found for found in find_tools() if found.commands.copy is not None]
    assert {found.name for found in copying} == {"pullahead", "skopeo", "crane", "regctl", "oras"}
    for found in copying:
        words = found._replace(program=found.name).copy(copy)
        assert any(word.endswith(copy.source) for word in words)
        assert any(word.endswith(copy.target) for word in words)
        assert not any("insecure" in word and word != "--insecure-policy" for word in words)
        assert not any("tls" in word or "plain" in word for word in words)


def test_every_tool_is_told_that_there_is_no_tls_where_there_is_none() -> None:
    copy = Copy("127.0.0.1:1/a:1", "127.0.0.1:2/b:1", plain_http=True)

    for found in find_tools():
        if found.commands.copy is not None:
            words = " ".join(found._replace(program=found.name).copy(copy))
            assert any(word in words for word in ("--insecure", "tls-verify=false", "tls=disabled", "plain-http"))


def test_every_tool_that_mirrors_is_told_both_repositories(tmp_path: Path) -> None:
    mirroring = Mirroring("127.0.0.1:1/tags", "127.0.0.1:2/mirror/tags", ("v1", "v2"), tmp_path, only_compare=False)

    mirrors = [found for found in find_tools() if found.commands.mirror is not None]
    assert {found.name for found in mirrors} == {"pullahead", "skopeo", "crane", "regsync"}
    for found in mirrors:
        said = " ".join(found._replace(program=found.name).mirror(mirroring))
        said += " ".join(file.read_text() for file in tmp_path.iterdir())
        assert mirroring.source in said
        assert "127.0.0.1:2" in said
        assert "mirror" in said


def test_ours_compares_where_nothing_is_stale(tmp_path: Path) -> None:
    (ours,) = [found for found in find_tools() if found.name == "pullahead"]
    mirroring = Mirroring("127.0.0.1:1/tags", "127.0.0.1:2/mirror/tags", ("v1",), tmp_path, only_compare=True)

    assert ours.mirror(mirroring)[1] == "check"
    assert ours.mirror(mirroring._replace(only_compare=False))[1] == "sync"
