"""The cooldown of 400 tags for 90 days. `pytest -s` shows the table."""

from tests.unit.admission.simulation import PACES, simulate, table_text

SEED = 36


def test_nothing_is_early_starved_or_poisoned() -> None:
    table = simulate(SEED, 400)
    print(f"\nseed {SEED}\n{table_text(table)}")
    assert sum(each.tags for each in table.values()) == 400
    for counts in table.values():
        assert (counts.early, counts.starved, counts.served_in_spite) == (0, 0, 0)
        assert counts.published > counts.tags
        assert counts.withdrawn_in_time > 0
        assert counts.taken_back > 0


def test_simulation_is_repeatable_by_its_seed() -> None:
    assert simulate(1, 20) == simulate(1, 20)
    assert simulate(1, 20) != simulate(2, 20)
    assert simulate(1, 50).keys() == {pace.name for pace in PACES}
