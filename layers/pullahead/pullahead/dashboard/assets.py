"""The files beside this module that make up the page: template, style sheets and script."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pullahead.dashboard.widget_request import Theme
from pullahead.rules.mirror_key import RecordKey
from pullahead.text import moment_text, span_text

_JOINT: Final = re.compile(r"(?<=[/:])")
_HEAT_LEVELS: Final = ((0.0, "h0"), (0.1, "h1"), (0.4, "h2"), (0.8, "h3"), (1.0, "h4"))


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Make the template engine, with the filters that the template uses."""
    made = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_read_compact))
    made.filters.update(
        breakable=_breakable,
        heat_level=_heat_level,
        moment=moment_text,
        number="{:,}".format,
        percent=_percent,
        span=span_text,
    )
    return made


@lru_cache(maxsize=3)
def style_sheet(theme: Theme) -> Markup:
    """Return the rules, with the colours of the theme."""
    light, dark = _read_css("light.css"), _read_css("dark.css")
    colours = {
        Theme.LIGHT: light,
        Theme.DARK: dark,
        Theme.AUTO: f"{light}@media (prefers-color-scheme:dark){{{dark}}}",
    }
    return Markup(colours[theme] + _read_css("style.css"))  # noqa: S704 - our own files


def script() -> Markup:
    """Return the script of the page that is a file."""
    return Markup(_read("script.js"))  # noqa: S704 - our own file


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _read_compact(name: str) -> str:
    return re.sub(r"\s*\n\s*", "", _read(name))


def _read_css(name: str) -> str:
    return re.sub(r"/\*.*?\*/", "", _read_compact(name))


def _breakable(key: RecordKey) -> Markup:
    """Let a long name break where its parts meet."""
    return Markup("<wbr>").join(_JOINT.split(str(key)))


def _percent(share: float) -> str:
    """Write a share as a whole number; nothing for none."""
    return "" if share <= 0 else f"{round(share * 100) or '<1'}"


def _heat_level(share: float) -> str:
    return next(name for most, name in _HEAT_LEVELS if share <= most)
