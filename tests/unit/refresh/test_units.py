"""How missing blobs are packed into units that run side by side."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pullahead.oci import Descriptor, Manifest, media_types
from pullahead.refresh.plan import MAX_UNITS, blobs_of, make_plan, pack_units
from tests.fakes.samples import digest, root

MIB = 1024 * 1024


def blob(name: object, size: int, media_type: str = "application/vnd.oci.image.layer.v1.tar") -> Descriptor:
    return Descriptor(media_type, digest(str(name)), size)


sizes = st.lists(st.integers(0, 1000), max_size=60)


@given(sizes, st.integers(1, 10), st.integers(1, 500))
@example([5, 0, 0], 3, 1)
def test_every_blob_is_in_one_unit_and_no_unit_is_empty(sizes: list[int], max_units: int, unit_bytes: int) -> None:
    blobs = [blob(n, size) for n, size in enumerate(sizes)]
    units = pack_units(blobs, max_units, unit_bytes)
    assert sorted((b for unit in units for b in unit), key=str) == sorted(blobs, key=str)
    assert all(units)
    assert len(units) <= min(max_units, len(blobs))


@given(sizes.filter(bool), st.integers(1, 10), st.integers(1, 500))
def test_no_unit_is_larger_than_list_scheduling_allows(sizes: list[int], max_units: int, unit_bytes: int) -> None:
    """Graham, 1966: each blob to the lightest of m units gives at most the mean and (1 - 1/m) of the largest blob."""
    units = pack_units([blob(n, size) for n, size in enumerate(sizes)], max_units, unit_bytes)
    heaviest = max(sum(b.size for b in unit) for unit in units)
    assert heaviest <= sum(sizes) / len(units) + (1 - 1 / len(units)) * max(sizes) + 1e-6


@pytest.mark.parametrize("largest", range(11))
def test_largest_blob_is_packed_first(largest: int) -> None:
    blobs = [blob((largest, n), 10 if n == largest else 1) for n in range(11)]
    assert [sum(b.size for b in unit) for unit in pack_units(blobs, 2, 10)] == [10, 10]


@given(st.permutations(range(8)))
def test_units_do_not_depend_on_the_order_in_which_blobs_are_found(order: list[int]) -> None:
    blobs = [blob(n, 100 + n % 3) for n in range(8)]
    assert pack_units([blobs[n] for n in order], 3, 10) == pack_units(blobs, 3, 10)


@pytest.mark.parametrize(
    ("mib", "units"), [((), 0), ((1,) * 50, 1), ((256,), 1), ((200, 57), 2), ((2048,), 1), ((256,) * 100, MAX_UNITS)]
)
def test_number_of_units_follows_from_the_bytes(mib: tuple[int, ...], units: int) -> None:
    assert len(pack_units([blob(n, size * MIB) for n, size in enumerate(mib)])) == units


def test_blob_shared_by_manifests_is_copied_once() -> None:
    shared, own = blob("shared", 10), blob("own", 5)
    graph = {digest("a"): Manifest((), (shared,)), digest("b"): Manifest((), (own, shared))}
    assert blobs_of(graph) == (shared, own)


def test_foreign_layer_is_left_out_of_the_plan() -> None:
    foreign, own = blob("windows", 10, min(media_types.FOREIGN_LAYERS)), blob("own", 5)
    assert blobs_of({digest("a"): Manifest((), (foreign, own), frozenset({foreign.digest}))}) == (own,)


def test_layer_that_one_manifest_calls_foreign_is_copied_where_another_does_not() -> None:
    foreign, plain = blob("same", 10, min(media_types.FOREIGN_LAYERS)), blob("same", 10)
    left = Manifest((), (foreign,), frozenset({foreign.digest}))
    assert blobs_of({digest("a"): Manifest((), (plain,)), digest("b"): left}) == (plain,)


def test_plan_has_only_missing_blobs_and_counts_both() -> None:
    top, here, missing = root("top"), blob("here", 7), blob("missing", 5)
    plan = make_plan(top, {top.digest: Manifest((), (here, missing))}, {here.digest})
    assert plan.units == ((missing,),)
    assert (plan.bytes_missing, plan.bytes_present) == (5, 7)
    assert plan.manifests == (top,)
