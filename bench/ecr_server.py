"""`python -m bench.ecr_server PORT FOLDER`: the strict local ECR, in a process whose CPU is not the client's."""

import sys
import threading
from pathlib import Path

from local.aws.server import LocalAws


def main(port: int, folder: Path) -> None:
    """Answer until the process is ended."""
    with LocalAws(folder, port):
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
