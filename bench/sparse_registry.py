"""`python -m bench.sparse_registry PORT REPOSITORY TAG SIZE_MIB`: one layer that is made as it is read."""

import sys
import threading

from bench.cases import MIB
from local.images import make_image
from local.registry import FakeRegistry


def main(port: int, repository: str, tag: str, size_mib: int) -> None:
    """Hash the layer (some 0.7 s for each GiB), then answer until the process is ended."""
    image = make_image([size_mib * MIB], seed=6)
    with FakeRegistry(port) as registry:
        registry.push(image, repository, tag)
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
