"""`python -m tests.live`: check in a sandbox account, or in the local AWS, each fact on which the code relies.

Exit codes: 0 all is as expected and nothing is left; 1 something differs, failed or is left; 2 wrong usage or not
confirmed; 130 interrupted.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import ACCESS_KEY, REGION, SECRET_KEY
from local.aws.server import LocalAws
from local.registry import FakeRegistry
from tests.live import cleaning, documents, table
from tests.live.account import Account, NoRegionError
from tests.live.consent import RefusedError, confirm
from tests.live.deploying import NotDeployedError, deploy_by_sam, sam_version
from tests.live.fact import Fact
from tests.live.facts import all_facts
from tests.live.interrupts import Interrupts
from tests.live.naming import new_run
from tests.live.site import Site
from tests.live.suite import chosen_facts, run_suite
from tests.live.upstreams import PUBLIC, Upstream, fill
from tests.live.waiting import LIVE, LOCAL, Waits, utc_now

_WRONG_USAGE: Final = 2
_INTERRUPTED: Final = 130
_WHAT: Final = """\
This makes a stack, repositories, a pull through cache rule, event rules, a queue and a bucket, all named
pullahead-live-…, and removes them in the end: about 20 minutes, a few US cents (docs/facts.md). For a second or two it
uses up the account's rate of PutImage in this Region. Use an account in which nobody depends on that."""
_WHAT_CLEANING: Final = "This removes what runs of `make live` left here, also of a run that is still under way."


class Stage(NamedTuple):
    """Where a run takes place."""

    account: Account
    upstream: Upstream
    waits: Waits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite, or remove what runs have left."""
    options = _parser().parse_args(arguments)
    with Interrupts(_warn) as interrupts:
        try:
            facts = chosen_facts(options.fact)
            with _stage(options) as stage:
                if options.clean:
                    return 1 if cleaning.clean(stage.account, None, stage.waits, _tell) else 0
                return _run(stage, facts, options, interrupts)
        except (LookupError, RefusedError, NoRegionError) as error:
            print(f"live: {error}", file=sys.stderr)
            return _WRONG_USAGE
        except (NotDeployedError, ClientError, BotoCoreError) as error:
            print(f"live: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            _warn("live: interrupted")
            return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make live", description="Check what the code relies on in a sandbox account."
    )
    parser.add_argument("--account", metavar="ID", help="confirm the account, in place of typing its ID when asked")
    parser.add_argument("--fact", metavar="ID", action="append", default=[], help="check this fact only; repeatable")
    parser.add_argument(
        "--set-blob-mounting",
        action="store_true",
        help="change the account setting BLOB_MOUNTING for a moment, to see both of its values",
    )
    parser.add_argument("--write-docs", action="store_true", help="write what was seen into docs/facts.md")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--clean", action="store_true", help="only remove what earlier runs have left")
    where.add_argument("--local", action="store_true", help="run in the local AWS, on this machine")
    return parser


@contextmanager
def _stage(options: argparse.Namespace) -> Iterator[Stage]:
    if not options.local:
        account = Account(boto3.Session())
        what = _WHAT_CLEANING if options.clean else _WHAT
        confirm(account, options.account, input if sys.stdin.isatty() else None, what)
        yield Stage(account, PUBLIC, LIVE)
        return
    if options.write_docs:
        raise RefusedError("docs/facts.md says what was seen in a real account; leave out --write-docs or --local")
    with (
        tempfile.TemporaryDirectory(prefix="pullahead-live-") as folder,
        LocalAws(Path(folder) / "aws", wait_scale=0.01) as aws,
        FakeRegistry() as registry,
    ):
        aws.ecr.quotas.enforced = True
        yield Stage(local_account(aws, Path(folder)), fill(registry), LOCAL)


def local_account(aws: LocalAws, home: Path) -> Account:
    """The account of a local AWS in this process; the functions of its stack run on this machine."""
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    return Account(
        session, aws.url, is_local=True, HOME=str(home), PULLAHEAD_BUILD_PLATFORM="host", SAM_CLI_POLL_DELAY="0.2"
    )


def _run(stage: Stage, facts: Sequence[Fact], options: argparse.Namespace, interrupts: Interrupts) -> int:
    account, run = stage.account, new_run()
    site = Site(account, run, stage.upstream, stage.waits, may_set_account=options.set_blob_mounting)
    where = "the local AWS (local/)" if account.is_local else "AWS"
    now = utc_now()
    _tell(f"{where}, account {account.id}, {account.region}, {now:%Y-%m-%d %H:%M} UTC; {sam_version()}")
    if not account.is_local:
        _tell("The local AWS behaves as the code expects: what differs here is a fault of the emulation, and is named.")
    report = run_suite(site, facts, deploy_by_sam, _tell, interrupts.cleaning_up)
    _tell(table.summary(report.results, sum(fact.check is None for fact in all_facts())))
    if options.write_docs:
        seen = documents.read_seen(documents.PAGE.read_text(encoding="utf-8"))
        documents.write_page(documents.with_results(seen, report.results, account.region, now))
    return 0 if report.is_good else 1


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed must not stop the removal
        print(line, flush=True)


def _warn(line: str) -> None:
    os.write(sys.stderr.fileno(), f"{line}\n".encode())  # from a signal's handler, which may have interrupted a print


if __name__ == "__main__":
    sys.exit(main())
