"""The waits before a request is repeated that AWS has carried out in part, or not at all, as something else was under
way, or has answered by what was so a moment before. Clients repeat by themselves what failed as a whole."""

import random
import time


def wait_between_tries(tried: int) -> None:
    """Wait a random part of 50 ms, 100 ms, 200 ms ...; `tried` counts from 0."""
    time.sleep(random.SystemRandom().random() * 0.05 * 2**tried)


def wait_for_indexes() -> None:
    """Wait until an index of DynamoDB has what was written before, as a rule: most have it within some milliseconds."""
    time.sleep(2.0)
