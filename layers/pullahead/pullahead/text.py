"""Text from outside, made fit for a line that people read. Pure."""


def one_line(text: str, most: int) -> str:
    """Make a short line of a text: what cannot be seen, or would turn the line round, becomes a space."""
    seen = text[: 4 * most]
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in seen).split())
    return plain if len(plain) <= most and len(seen) == len(text) else plain[: most - 1].rstrip() + "…"
