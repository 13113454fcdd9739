"""HTML: what is not HTML already is escaped, wherever it stands."""

import pytest

from pullahead.dashboard.html import Html, element, joined

EVIL = "<script>alert('x')</script>\" onclick=\"y"


def test_text_cannot_become_an_element() -> None:
    assert element("td", EVIL) == "<td>&lt;script&gt;alert('x')&lt;/script&gt;\" onclick=\"y</td>"
    assert joined("a<b", Html("<i>"), None) == "a&lt;b<i>"


def test_value_cannot_leave_its_attribute() -> None:
    made = element("td", title=EVIL)
    assert made.count('"') == 2
    assert "<script" not in made


@pytest.mark.parametrize(
    ("attributes", "made"),
    [
        ({"class_": "a", "aria_label": "b"}, '<i class="a" aria-label="b"></i>'),
        ({"hidden": True, "selected": False, "title": None}, "<i hidden></i>"),
        ({"colspan": 0}, '<i colspan="0"></i>'),
    ],
)
def test_attributes_are_named_as_html_names_them(attributes: dict[str, str | int | bool | None], made: str) -> None:
    assert element("i", **attributes) == made


def test_element_without_an_end_gets_none() -> None:
    assert element("input", name="a") == '<input name="a">'


def test_what_was_built_is_not_escaped_twice() -> None:
    assert element("p", element("b", "a&b")) == "<p><b>a&amp;b</b></p>"
