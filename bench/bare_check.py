"""`python -I -S bare_check.py SOURCE TARGET TAGS_FILE`: a check that does only what every check must, for comparison.

SOURCE and TARGET are `host:port/repository`, and both have the tags, one a line in the file. Four threads share them
over eight connections, one of each thread to each side, and send one HEAD to each side for a tag by http.client. It is
a process of its own, started and measured as the tools are, and imports nothing of ours.
"""

import http.client
import ssl
import sys
import threading
from typing import Final

_THREADS: Final = 4  # on two cores eight take longer: each thread shakes hands twice
_TIMEOUT_SECONDS: Final = 60
_MANIFESTS: Final = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


def differing(source: str, target: str, tags: list[str], context: ssl.SSLContext | None) -> list[str]:
    """List the tags that name another digest on each side, or that were not answered on either."""
    same: list[str] = []
    threads = [
        threading.Thread(target=_compare, args=(source, target, tags[first::_THREADS], context, same))
        for first in range(min(_THREADS, len(tags)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(set(tags).difference(same))


def _compare(source: str, target: str, tags: list[str], context: ssl.SSLContext | None, same: list[str]) -> None:
    sides = [(_connect(side.partition("/")[0], context), side.partition("/")[2]) for side in (source, target)]
    for tag in tags:
        for connection, repository in sides:  # both are asked before either is read: they answer at the same time
            connection.request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": _MANIFESTS})
        one, other = (_digest(connection) for connection, _ in sides)
        if one is not None and one == other:
            same.append(tag)
    for connection, _ in sides:
        connection.close()


def _connect(host: str, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
    return http.client.HTTPSConnection(host, timeout=_TIMEOUT_SECONDS, context=context)


def _digest(connection: http.client.HTTPConnection) -> str | None:
    answer = connection.getresponse()
    answer.read()
    return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None


def main(source: str, target: str, file: str) -> None:
    """Compare all tags; the certificates are those of SSL_CERT_FILE, as for the tools."""
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123 (pathlib is one import more)
        tags = lines.read().split()
    if differs := differing(source, target, tags, ssl.create_default_context()):
        sys.exit(f"differ or were not answered: {', '.join(differs)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
