"""Numbers and names as people read them."""

import pytest

from pullahead.cli.summary import summary_document, summary_text
from pullahead.cli.texts import count_text, one_line, rate_text, size_text
from pullahead.oci import digest_of, parse_reference
from pullahead.standalone.copy_image import CopySummary

SOURCE, TARGET = parse_reference("docker.io/library/python:3.13"), parse_reference("localhost:5000/python:3.13")
DIGEST = digest_of(b"root")
COPIED = CopySummary(DIGEST, 2_147_483_648, 5, 2, 1, 3.2, already_there=False)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**3 * 50, "50.0 GiB"), (1024**6, "1024.0 PiB")],
)
def test_size_is_wrong(size: int, text: str) -> None:
    assert size_text(size) == text


def test_rate_of_no_time_divides_by_nothing() -> None:
    assert rate_text(1000, 0.0) == "0.0 MB/s"
    assert rate_text(3_200_000, 2.0) == "1.6 MB/s"


def test_counts_are_not_told_apart() -> None:
    assert (count_text(1, "blob"), count_text(0, "blob")) == ("1 blob", "0 blobs")


def test_somebody_elses_words_steer_the_terminal() -> None:
    assert one_line("a\x1b[2J\nb\x9bc\u202ed ") == "a [2J b c d"


def test_summary_leaves_something_out() -> None:
    assert summary_text(SOURCE, TARGET, COPIED).splitlines() == [
        "copied docker.io/library/python:3.13 to localhost:5000/python:3.13",
        f"  digest  {DIGEST}",
        "  blobs   5 copied, 2 present, 1 mounted",
        "  bytes   2,147,483,648 (2.0 GiB) in 3.20 s, 671.1 MB/s",
    ]


def test_nothing_to_do_looks_like_a_copy() -> None:
    summary = CopySummary(DIGEST, 0, 0, 0, 0, 0.1, already_there=True)
    assert summary_text(SOURCE, TARGET, summary).startswith("nothing to do: localhost:5000/python:3.13 is ")
    assert summary_document(SOURCE, TARGET, summary)["already_there"] is True


def test_document_leaves_something_out() -> None:
    assert summary_document(SOURCE, TARGET, COPIED) == {
        "source": str(SOURCE),
        "target": str(TARGET),
        "digest": DIGEST,
        "already_there": False,
        "bytes_copied": 2_147_483_648,
        "blobs_copied": 5,
        "blobs_present": 2,
        "blobs_mounted": 1,
        "blobs_foreign": 0,
        "seconds": 3.2,
        "megabytes_per_second": 671.1,
    }
