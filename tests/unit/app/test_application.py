"""How the application is put together: nothing is made, and nothing asked for, before it is needed."""

from pathlib import Path
from typing import Literal

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.app import Application
from pullahead.errors import AccessDeniedError, ConfigError
from pullahead.messages import CheckRequest
from pullahead.rules.model import Rules, UpstreamSettings
from pullahead.rules.sources.findings import CachedRepository, Findings
from pullahead.rules.sources.state import RulesState
from pullahead.settings import Settings
from tests.fakes.application import InMemoryService
from tests.fakes.sources import QUAY, FakeCompiledRules, FakeRulesState


def test_missing_setting_is_an_error_only_when_it_is_needed() -> None:
    app = Application(Settings({}))
    with pytest.raises(ConfigError, match="TARGET_REPOSITORIES is not set"):
        app.schedule_checks()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"version: 2", b""])
def test_unreadable_rules_file_is_a_config_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)
    app = Application(Settings({"RULES_PATH": str(path)}))
    vars(app).update(_rules_state=FakeRulesState(), _compiled_rules=FakeCompiledRules())
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        _ = app._rules


class Allowing(Application):
    """An application whose rules allow every host whatever rules can allow."""

    def _upstream_settings(self, host: str) -> UpstreamSettings:
        return UpstreamSettings(host, plain_http=True, private_addresses=True)


def test_runtime_api_is_refused_whatever_the_rules_allow() -> None:
    with FakeRegistry() as listener:
        app = Allowing(Settings({"AWS_LAMBDA_RUNTIME_API": listener.host}))
        with pytest.raises(AccessDeniedError, match="the Lambda runtime API, which is refused"):
            app._upstream.head_manifest(listener.reference("app", "1"))
        assert listener.connections == 0


@pytest.mark.parametrize(
    ("listed", "patterns"), [("", ()), ("quay/*", ("quay/*",)), ("quay/*, ecr/* ,", ("quay/*", "ecr/*"))]
)
def test_list_of_patterns_is_split_at_commas(listed: str, patterns: tuple[str, ...]) -> None:
    assert Settings({"PULL_THROUGH_CACHE_REPOSITORIES": listed}).pull_through_cache_repositories == patterns


class TestRulesFoundJustNow:
    """A process that knows the rules already learns of what the schedule found before it asked for the check."""

    def service(self) -> InMemoryService:
        """Make a process that read the rules a second before the schedule found a mirror."""
        service = InMemoryService(Rules((), (), "rules-1"))
        assert service.app._rules.mirrors == ()
        service.clock.advance(seconds=1)
        cached = (CachedRepository("quay/team/app", ("1",)),)
        service.rules_state.save(RulesState(findings=Findings((QUAY,), cached)))
        service.upstream.serve(make_image(seed=1), "quay.io/team/app:1")
        return service

    @pytest.mark.parametrize(("reason", "checked"), [("schedule", 1), ("manual", 1), ("push", 0)])
    def test_later_check_uses_rules_found_just_now(
        self, reason: Literal["schedule", "manual", "push"], checked: int
    ) -> None:
        service = self.service()
        request = CheckRequest(reason=reason, repository="quay/team/app", tags=("1",), asked_at=service.clock())
        assert len(service.handle(request)) == checked

    def test_later_refresh_uses_rules_found_just_now(self) -> None:
        service = self.service()
        service.handle(
            CheckRequest(reason="schedule", repository="quay/team/app", tags=("1",), asked_at=service.clock())
        )
        (request,) = service.refreshes.requests.values()
        another = self.service()
        another.target.ensure_repository("quay/team/app")
        another.app.plan_copy(request)
        assert len(another.app._rules.mirrors) == 1
