"""moto's private names are taken hold of, or missed aloud."""

import pytest

from local.aws.moto_guard import UnsupportedMotoError, check_version, replace, restore, take


def test_installed_moto_is_the_pinned_one() -> None:
    check_version()


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("moto.events.models", "Rule.send_to_nowhere"),
        ("moto.events.models", "Rul.send_to_targets"),
        ("moto.gone", "Rule"),
    ],
)
def test_missing_name_is_an_error_that_names_it(module: str, path: str) -> None:
    with pytest.raises(UnsupportedMotoError, match=module):
        take(module, path)
    with pytest.raises(UnsupportedMotoError, match="5\\.2\\.5"):
        replace(module, path, None)


def test_replaced_names_are_given_back() -> None:
    before = take("moto.events.models", "Rule.send_to_targets")
    replace("moto.events.models", "Rule.send_to_targets", None)
    restore()
    assert take("moto.events.models", "Rule.send_to_targets") is before
