"""`pullahead copy`: one image from any registry to any other."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext

from pullahead.cli.arguments import CopyArguments
from pullahead.cli.connections import Connections
from pullahead.cli.exits import DONE, NOTHING_TO_DO
from pullahead.cli.output import write_document, write_text
from pullahead.cli.summary import summary_document, summary_text
from pullahead.cli.tally import Tally
from pullahead.cli.watch import Watch, view_for
from pullahead.clock import wait_after_breaks
from pullahead.standalone.copy_image import CopyOptions, copy_image


def run_copy(arguments: CopyArguments) -> int:
    """Copy, show how far it is, and sum up."""
    source, target, common = arguments.source, arguments.target, arguments.common
    connections = Connections(common)
    tally = Tally()
    watch: AbstractContextManager[object] = nullcontext() if common.quiet else Watch(tally, view_for(sys.stderr))
    with watch:
        summary = copy_image(
            source,
            target,
            upstream=connections.upstream(),
            destination=connections.target(target.repository.registry),
            wait_after_break=wait_after_breaks,
            progress=tally,
            options=CopyOptions(platforms=arguments.platforms, foreign_layers=arguments.foreign_layers),
            clock=time.monotonic,
            cpu_clock=time.process_time,
        )
    if common.json:
        write_document(summary_document(source, target, summary))
    elif not common.quiet:
        write_text(summary_text(source, target, summary))
    return NOTHING_TO_DO if summary.already_there else DONE
