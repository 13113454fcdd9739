"""Decode bodies that were compressed on the way, although identity was asked for: some registries and proxies do so.

A digest is that of the content, not of what is on the wire (OCI distribution specification 1.1, "Pulling manifests").
Only gzip and deflate are decoded, which Python's standard library has. A header that says so of a body that is not
compressed is wrong, which is seen by the body's first bytes.

Source: RFC 9110, section 8.4.1.
"""

import zlib
from collections.abc import Iterator

_GZIP = ("gzip", "x-gzip")
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 256 * 1024

# zlib's window sizes: of gzip's format; of zlib's, which "deflate" means; and without either, as some servers send it.
_AS_GZIP, _AS_ZLIB, _BARE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class CodingError(ValueError):
    """The body cannot be decoded."""


def coding_of(header: str) -> str:
    """Name the coding that a Content-Encoding header says; "" for none. Several are named together."""
    named = (each.strip().lower() for each in header.strip('" ').split(","))
    return ", ".join(dict.fromkeys(each for each in named if each not in ("", "identity")))


def decode(content: bytes, coding: str, limit: int) -> bytes:
    """Decode a whole body to at most `limit` + 1 bytes; one that is JSON already is left alone. Raises CodingError."""
    if content.lstrip()[:1] in (b"{", b"["):
        return content
    decoded = bytearray()
    for piece in decoded_pieces(iter((content,)), coding):
        decoded += piece
        if len(decoded) > limit:
            break
    return bytes(decoded[: limit + 1])


def decoded_pieces(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Decode a stream, in pieces of at most 256 KiB. Raises CodingError."""
    first = next(pieces, b"")
    if not first:
        return
    window = _window(coding, first)
    if window is None:
        yield first
        yield from pieces
        return
    decoder = zlib.decompressobj(window)
    try:
        for piece in _all(first, pieces):
            rest = piece
            while rest:
                if decoder.eof:  # gzip may have several members
                    decoder = zlib.decompressobj(window)
                yield decoder.decompress(rest, _PIECE_BYTES)
                rest = decoder.unconsumed_tail or decoder.unused_data
        while held_back := decoder.decompress(decoder.unconsumed_tail, _PIECE_BYTES):
            yield held_back
    except zlib.error:
        raise CodingError(f"the body is not {coding}, as its header says") from None
    if not decoder.eof:
        raise CodingError(f"the body ends in the middle of its {coding}")


def _all(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _window(coding: str, first: bytes) -> int | None:
    """Choose how zlib reads a body that begins so; None for one that is not compressed. Raises CodingError."""
    if coding in _GZIP:
        return _AS_GZIP if first.startswith(_GZIP_MAGIC) else None
    if coding == "deflate":
        return _AS_ZLIB if first[0] & 0x0F == 8 and int.from_bytes(first[:2], "big") % 31 == 0 else _BARE
    raise CodingError(f"the body is encoded by {coding!r}, though identity was asked for")
