r"""Regular expressions of tags, matched in linear time. Pure.

Python's `re` tries one way after the other, so that an innocent `(\w+-?)*x` can keep a function busy until it is
killed. Here an expression becomes a state machine that reads each character once, and what no such machine can do
(looking around, back references) is refused. A tag is always compared as a whole. Only characters that tags have
matter, so each atom is the set of those that it stands for.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from pullahead.errors import ConfigError

MAX_PATTERN_CHARACTERS = 200


class InvalidPatternError(ConfigError):
    """A pattern that means nothing: what is wrong with it, and how to write it."""

    def __init__(self, text: str, cause: str, advice: str = "") -> None:
        self.cause, self.advice = cause, advice
        hint = f" {advice}" if advice else ""
        super().__init__(f"{text[:80]!r} is no pattern of tags: {cause}.{hint}")


_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_TAG = _WORD | frozenset(".-")
_CLASSES = {"d": _DIGITS, "D": _TAG - _DIGITS, "w": _WORD, "W": _TAG - _WORD, "S": _TAG}
_BOUNDS = re.compile(r"(?!,?$)([0-9]{0,4})(,?)((?<=,)[0-9]{0,4}|)")
_MAX_REPEATS = 128  # as long as a tag may be
_MAX_STATES = 2_000
_MAX_REMEMBERED = 10_000
_ACCEPT = 0
_HINT = "Write it with characters, [classes], (groups), |, and * + ? {m,n}; a tag is compared as a whole."


class _Repeat(NamedTuple):
    of: "_Part"
    low: int
    high: int | None


class _Choice(NamedTuple):
    options: tuple[tuple["_Part", ...], ...]


_Part = frozenset[str] | _Repeat | _Choice


class TagRegex:
    """A compiled expression."""

    def __init__(self, text: str) -> None:
        """Compile. Raises InvalidPatternError with the position of what is wrong."""
        self._text = text
        self._characters: list[frozenset[str]] = [frozenset()]  # what a state reads; none: it goes on by itself
        self._next: list[list[int]] = [[]]
        self._work = 0
        first = self._build_all(_Parser(text).parse(), _ACCEPT)
        self._start = self._closure([first])
        self._remembered: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, tag: str) -> bool:
        """Tell whether a whole tag fits."""
        states = self._start
        for character in tag:
            states = self._step(states, character)
            if not states:
                return False
        return _ACCEPT in states

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        known = self._remembered.get((states, character))
        if known is None:
            reached = (self._next[state][0] for state in states if character in self._characters[state])
            known = self._closure(reached)
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[states, character] = known
        return known

    def _closure(self, states: Iterable[int]) -> frozenset[int]:
        waiting, seen = list(states), set[int]()
        while waiting:
            state = waiting.pop()
            if state not in seen:
                seen.add(state)
                if not self._characters[state]:
                    waiting += self._next[state]
        return frozenset(state for state in seen if self._characters[state] or state == _ACCEPT)

    def _build_all(self, parts: Iterable[_Part], after: int) -> int:
        for part in reversed(tuple(parts)):
            after = self._build(part, after)
        return after

    def _build(self, part: _Part, after: int) -> int:
        """Add the states of a part, from its end to its start; return its first."""
        self._work += 1
        if self._work > _MAX_STATES:
            raise InvalidPatternError(self._text, "it repeats too much", "Write it with fewer or smaller {m,n}.")
        if isinstance(part, _Repeat):
            return self._build_repeat(part, after)
        if isinstance(part, _Choice):
            return self._add(frozenset(), [self._build_all(option, after) for option in part.options])
        return self._add(part, [after])

    def _build_repeat(self, part: _Repeat, after: int) -> int:
        copies = part.low
        if part.high is None:
            loop = self._add(frozenset(), [after])
            start = self._build(part.of, loop)
            self._next[loop].append(start)
            after, copies = (loop, 0) if part.low == 0 else (start, part.low - 1)
        else:
            end = after
            for _ in range(part.high - part.low):
                after = self._add(frozenset(), [self._build(part.of, after), end])
        for _ in range(copies):
            after = self._build(part.of, after)
        return after

    def _add(self, characters: frozenset[str], after: list[int]) -> int:
        self._characters.append(characters)
        self._next.append(after)
        return len(self._next) - 1


class _Parser:
    """Reads an expression from left to right. Its depth is bounded by the length that a pattern may have."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN_CHARACTERS:
            raise InvalidPatternError(text, f"it has more than {MAX_PATTERN_CHARACTERS} characters")
        self._text, self._at = text, 0

    def parse(self) -> tuple[_Part, ...]:
        if not self._text:
            self._refuse("it is empty", 0)
        self._skip("^")
        parsed = self._choice()
        if self._at < len(self._text):
            self._refuse("this ) closes nothing", self._at)
        return (parsed,)

    def _choice(self) -> _Choice:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return _Choice(tuple(options))

    def _sequence(self) -> tuple[_Part, ...]:
        parts: list[_Part] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            if self._text[self._at :] == "$":
                self._at += 1
            else:
                parts.append(self._repeated(self._atom()))
        return tuple(parts)

    def _repeated(self, atom: _Part) -> _Part:
        at = self._at
        bounds = self._quantifier()
        if bounds is None:
            return atom
        self._skip("?")  # it would only change which way is tried first
        if self._peek() and self._peek() in "*+?{":
            self._refuse("one quantifier follows another", self._at)
        low, high = bounds
        if high is not None and high < low:
            self._refuse("the second number is smaller than the first", at)
        if max(low, high or 0) > _MAX_REPEATS:
            self._refuse(f"a tag has no more than {_MAX_REPEATS} characters", at)
        return _Repeat(atom, low, high)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._skip(sign):
                return bounds
        at = self._at
        if not self._skip("{"):
            return None
        inside, closed, _ = self._text[self._at :].partition("}")
        self._at += len(inside) + 1
        numbers = _BOUNDS.fullmatch(inside)
        if numbers is None or not closed:
            self._refuse("these braces are no {m}, {m,} or {m,n}", at)
        low, comma, high = numbers.groups()
        return int(low or 0), int(high) if high else None if comma else int(low)

    def _atom(self) -> _Part:
        at = self._at
        character = self._text[at]
        self._at += 1
        if character == "(":
            return self._group(at)
        if character == "[":
            return self._class(at)
        if character == ".":
            return _TAG
        if character == "\\":
            return self._escape(at)
        if character in "*+?{":
            self._refuse("there is nothing to repeat", at)
        if character in "^$":
            self._refuse("a tag is compared as a whole, so nothing else has to say where it begins and ends", at)
        return self._of_tags(frozenset(character), at)

    def _group(self, at: int) -> _Choice:
        if self._skip("?") and not self._skip(":"):
            self._refuse("only plain groups and (?:…) are known", at)
        group = self._choice()
        if not self._skip(")"):
            self._refuse("this ( is not closed", at)
        return group

    def _escape(self, at: int) -> frozenset[str]:
        character = self._peek()
        self._at += 1
        if character in _CLASSES:
            return _CLASSES[character]
        if not character or character.isalnum():
            self._refuse(rf"\{character} is not known; \d, \w and escaped signs are", at)
        return self._of_tags(frozenset(character), at)

    def _class(self, at: int) -> frozenset[str]:
        negated = self._skip("^")
        found: set[str] = set()
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                self._refuse("this [ is not closed", at)
            found |= self._class_item()
            first = False
        self._at += 1
        return self._of_tags(_TAG - found if negated else frozenset(found), at)

    def _class_item(self) -> frozenset[str]:
        at = self._at
        low = self._class_character()
        behind = self._text[self._at : self._at + 2]
        if len(behind) < 2 or behind[0] != "-" or behind[1] == "]":
            return low
        self._at += 1
        high = self._class_character()
        if len(low) != 1 or len(high) != 1 or min(low) > min(high):
            self._refuse("this is no range of characters", at)
        return frozenset(character for character in _TAG if min(low) <= character <= min(high))

    def _class_character(self) -> frozenset[str]:
        at = self._at
        character = self._peek()
        self._at += 1
        if character != "\\":
            return frozenset(character)
        character = self._peek()
        if character and not character.isalnum():
            self._at += 1
            return frozenset(character)
        return self._escape(at)

    def _of_tags(self, characters: frozenset[str], at: int) -> frozenset[str]:
        if not characters & _TAG:
            self._refuse("what stands here is in no tag", at)
        return characters & _TAG

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._at += 1
        return True

    def _refuse(self, cause: str, at: int) -> NoReturn:
        raise InvalidPatternError(self._text, f"{cause} (character {at + 1})", _HINT)
