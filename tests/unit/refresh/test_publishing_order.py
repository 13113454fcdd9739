"""In which order manifests are published: nothing before what it names, and never in exponential time."""

from hypothesis import given
from hypothesis import strategies as st

from pullahead.oci import Descriptor, Digest, Manifest
from pullahead.refresh.plan import publishing_order
from tests.fakes.samples import root


def graph_of(children: dict[int, list[int]]) -> dict[Digest, Manifest]:
    return {node(n).digest: Manifest(tuple(node(c) for c in below), ()) for n, below in children.items()}


def node(number: int) -> Descriptor:
    return root(f"node {number}")


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Make a graph in which a node names only later ones, so that it has no cycle, as digests see to."""
    count = draw(st.integers(1, 12))
    later = [
        st.lists(st.integers(n + 1, count - 1), unique=True) if n + 1 < count else st.just([]) for n in range(count)
    ]
    return {n: draw(strategy) for n, strategy in enumerate(later)}


def below(children: dict[int, list[int]], start: int) -> set[int]:
    return {start}.union(*(below(children, child) for child in children[start]))


@given(graphs())
def test_children_come_first_each_once_and_the_root_last(children: dict[int, list[int]]) -> None:
    order = publishing_order(node(0), graph_of(children))
    assert order[-1] == node(0)
    assert len(set(order)) == len(order)
    assert set(order) == {node(n) for n in below(children, 0)}
    place = {descriptor: position for position, descriptor in enumerate(order)}
    for parent in below(children, 0):
        assert all(place[node(child)] < place[node(parent)] for child in children[parent])


def test_shared_children_are_visited_once() -> None:
    """Each of 60 steps is named by both nodes of the step above: 2^60 paths, 121 nodes."""
    children = {0: [1, 2]} | {n: [n + 1 + n % 2, n + 2 + n % 2] if n < 119 else [] for n in range(1, 121)}
    assert len(publishing_order(node(0), graph_of(children))) == 121


def test_chain_deeper_than_pythons_stack_is_ordered() -> None:
    children = {n: [n + 1] for n in range(5000)} | {5000: []}
    assert publishing_order(node(0), graph_of(children))[0] == node(5000)


def test_children_keep_the_order_of_their_index() -> None:
    assert publishing_order(node(0), graph_of({0: [2, 1, 3], 1: [], 2: [], 3: []})) == tuple(map(node, (2, 1, 3, 0)))
