"""How each state looks: order, shape, words. Shape and word say it too, so that colour alone never does."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from pullahead.dashboard.html import Html
from pullahead.mirrors.record import State


class Appearance(NamedTuple):
    """The look of a state. The colour is the style sheet's, by `name`."""

    means: str
    shape: Html  # of an icon of 16 by 16

    def icon(self, state: State) -> Html:
        """Draw the icon; a word always stands beside it."""
        return Html(f'<svg class="pa-i pa-{state.lower()}" viewBox="0 0 16 16" aria-hidden="true">{self.shape}</svg>')


# Worst first: what waits for a human, then what waits for Pullahead, then what is well.
APPEARANCES: Final[Mapping[State, Appearance]] = MappingProxyType(
    {
        State.BLOCKED: Appearance(
            "cannot be refreshed until somebody acts",
            Html('<path class="f" d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path class="k" d="M4.5 8h7"/>'),
        ),
        State.GONE: Appearance(
            "upstream no longer has the tag",
            Html('<path class="f" d="M8 .5 15.5 8 8 15.5.5 8z"/><path class="k" d="m6 6 4 4m0-4-4 4"/>'),
        ),
        State.STALE: Appearance(
            "upstream moved on; a refresh is due or under way",
            Html('<path class="f" d="M8 1l7.5 14H.5z"/><path class="k" d="M8 6v4m0 2v1"/>'),
        ),
        State.MISSING: Appearance("never copied yet", Html('<circle class="o" cx="8" cy="8" r="6"/>')),
        State.UNKNOWN: Appearance(
            "upstream could not be asked",
            Html('<rect class="o" x="2" y="2" width="12" height="12" rx="2"/><path class="l" d="M5 8h6"/>'),
        ),
        State.DELETED: Appearance(
            "deleted from ECR, and left so until upstream moves",
            Html('<circle class="o" cx="8" cy="8" r="6"/><path class="l" d="m4 12 8-8"/>'),
        ),
        State.FRESH: Appearance(
            "ECR serves what upstream serves",
            Html('<circle class="f" cx="8" cy="8" r="7.5"/><path class="k" d="m4.5 8.3 2.4 2.4 4.6-5"/>'),
        ),
    }
)

RANKS: Final[Mapping[State, int]] = MappingProxyType({state: rank for rank, state in enumerate(APPEARANCES)})


def icon_of(state: State) -> Html:
    """Draw a state's icon."""
    return APPEARANCES[state].icon(state)
