"""What a million pulls cost: from the look-ups that are counted elsewhere, on the page as it is computed."""

from bench import pull_costs
from tests.architecture.sam_template import real_template


def test_page_says_what_is_computed() -> None:
    page = pull_costs.PAGE.read_text(encoding="utf-8")
    assert pull_costs.with_table(page) == page, "run `make costs`"


def test_million_pulls_cost_less_than_two_dollars_however_they_come() -> None:
    flood = sum(pull_costs.cost_of_million(pull_costs.HERE.batch_size).values())
    spread = sum(pull_costs.cost_of_million(pull_costs.spread_over_a_month()).values())
    assert 0.4 < flood < spread < 2


def test_batches_are_those_of_the_template() -> None:
    (event,) = real_template().resources("AWS::Serverless::Function")["NoticePullsFunction"]["Events"].values()
    properties = event["Properties"]
    assert properties["BatchSize"] == pull_costs.HERE.batch_size
    assert properties["MaximumBatchingWindowInSeconds"] == pull_costs.HERE.window_seconds
