"""docs/facts.md and the suite agree: each fact is on the page, and is checked or says why it cannot be."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pullahead.ecr.errors import MEANING
from tests.live import documents, table
from tests.live.documents import NOT_YET, PAGE, file_of, page, read_seen, with_results
from tests.live.fact import Fact, Finding, Result, Verdict
from tests.live.facts import all_facts
from tests.live.suite import chosen_facts

FACT = Fact(
    "one-fact",
    "AWS does so.",
    "somewhere",
    ("ecr/target.py",),
    lambda _: Finding(True, "it does"),
    emulated_in=("local/ecr/uploads.py",),
)


def test_page_is_as_the_suite_has_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(read_seen(text)), "run `make facts`"


def test_each_fact_of_the_page_is_checked_or_says_why_not() -> None:
    assert sorted(read_seen(PAGE.read_text(encoding="utf-8"))) == sorted(fact.id for fact in all_facts())
    for fact in all_facts():
        assert (fact.check is None) == bool(fact.reason), fact.id
        assert fact.check is None or f"`{fact.id}`" in PAGE.read_text(encoding="utf-8")


def test_ids_are_unique() -> None:
    assert [name for name, count in Counter(fact.id for fact in all_facts()).items() if count > 1] == []


@pytest.mark.parametrize("fact", all_facts(), ids=lambda fact: fact.id)
def test_fact_names_files_that_exist(fact: Fact) -> None:
    assert fact.relied_on_by
    assert [name for name in (*fact.relied_on_by, *fact.emulated_in) if not file_of(name).exists()] == []


def test_fact_that_is_checked_is_emulated_or_says_why_not() -> None:
    assert [each.id for each in all_facts() if each.check and bool(each.emulated_in) == bool(each.only_live)] == []


def test_every_error_of_ecr_that_the_code_knows_is_in_a_fact() -> None:
    assert MEANING.keys() - {code for fact in all_facts() for code in fact.errors} == set()


def test_what_was_seen_live_is_read_back_and_kept() -> None:
    first = all_facts()[0].id
    seen = read_seen(page({first: "2026-12-01, eu-west-1"}))
    assert seen[first] == "2026-12-01, eu-west-1"
    assert {text for fact_id, text in seen.items() if fact_id != first and "cannot" not in text} == {NOT_YET}


def test_results_of_a_run_are_dated_and_what_was_not_checked_stays() -> None:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    before = {"a": "2026-11-30, us-east-1", "b": NOT_YET, "c": NOT_YET}
    results = [
        Result(FACT._replace(id="a"), Verdict.NOT_CHECKED, "no trail"),
        Result(FACT._replace(id="b"), Verdict.DIFFERS, "another code"),
        Result(FACT._replace(id="c"), Verdict.AGREES, "as it should be"),
    ]
    assert with_results(before, results, "eu-west-1", at) == {
        "a": "2026-11-30, us-east-1",
        "b": "**differs** 2026-12-01, eu-west-1",
        "c": "2026-12-01, eu-west-1",
    }


def test_difference_in_a_real_account_names_the_fault_of_the_emulation() -> None:
    row = table.row(Result(FACT, Verdict.DIFFERS, "it does not"), [FACT], is_local=False)
    assert row.splitlines() == [
        "one-fact  DIFFERS      it does not",
        "    expected: AWS does so.",
        "    fault of the emulation, which is as the code expects: local/ecr/uploads.py",
        "    relied on by: ecr/target.py",
    ]
    assert "emulation" not in table.row(Result(FACT, Verdict.DIFFERS, "it does not"), [FACT], is_local=True)
    assert table.row(Result(FACT, Verdict.AGREES, "it\ndoes"), [FACT], is_local=False).endswith("it does")


def test_unknown_fact_is_not_chosen() -> None:
    with pytest.raises(LookupError, match="no-such-fact"):
        chosen_facts(["no-such-fact", "part-size"])
    assert [fact.id for fact in chosen_facts(["part-size"])] == ["part-size"]


def test_page_is_written_by_its_own_command_and_what_was_seen_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "facts.md"
    assert documents.main(path) == 0
    assert set(read_seen(path.read_text(encoding="utf-8")).values()) >= {NOT_YET}
    path.write_text(page({"part-size": "2026-12-01, eu-west-1"}), encoding="utf-8")
    assert documents.main(path) == 0
    assert read_seen(path.read_text(encoding="utf-8"))["part-size"] == "2026-12-01, eu-west-1"
