"""What a function does around the messages of the checks queue: takes events once, and tells what came of them."""

from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Logger

from pullahead.errors import PullaheadError
from pullahead.usecases.admit import Filled
from pullahead.usecases.cache_failures import CacheFailed
from pullahead.usecases.check import CheckResult
from pullahead.usecases.follow_listing import ListResult
from pullahead.wiring import Checked

logger = Logger()  # the same as the handlers': Powertools keeps one for a process


def once(event: dict[str, Any]) -> dict[str, Any]:
    """Take an event that EventBridge has delivered twice into one batch once; its deliveries succeed or fail alike."""
    seen = set[str]()
    records = []
    for record in event["Records"]:
        if "detail-type" in record["body"] and record["body"] in seen:
            continue
        seen.add(record["body"])
        records.append(record)
    return {**event, "Records": records}


def report(results: Sequence[Checked]) -> None:
    """Log what failed or changed, and once what a limit of upstream's leaves to the next check."""
    for result in results:
        if isinstance(result, CacheFailed):
            logger.warning("ECR's pull through cache failed", extra=result._asdict())
        elif not isinstance(result, CheckResult | ListResult | Filled):
            logger.debug("event ignored", extra=result._asdict())
        elif result.error is not None:
            logger.error("check failed", extra=result._asdict())
        else:  # what is as it was would fill the log
            (logger.info if result.changed else logger.debug)("checked", extra=result._asdict())
    if deferred := [result for result in results if isinstance(result, CheckResult) and result.deferred]:
        mirrors = [result.mirror for result in deferred]
        logger.info("deferred to the next check", extra={"mirrors": mirrors, "reason": deferred[0].reason})


def failure_of(results: Sequence[Checked]) -> PullaheadError | None:
    """Tell why a message is to come back, if it is."""
    errors = (result.error for result in results if isinstance(result, CheckResult | ListResult))
    return next((error for error in errors if error is not None), None)
