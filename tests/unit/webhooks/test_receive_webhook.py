"""A webhook: authentication, the checks it queues, what it costs, and the response."""

import json
from pathlib import Path
from typing import Any

import pytest

from pullahead.errors import ConfigError, InvalidEventError, StorageError
from pullahead.messages import CheckRequest, ReferrerNamed
from pullahead.oci.referrers import fallback_tag
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from pullahead.webhooks.http import MAX_BODY_BYTES, WebhookOutcome
from tests.fakes.samples import digest, rule
from tests.fakes.webhook_receiver import HOSTS, WebhookReceiver, followed, namespace, repository_of
from tests.fakes.webhooks import SECRET, generic_event, github_event, hmac_of, url_event

EVENTS = Path(__file__).parents[3] / "events"
SIGNING = ("github", "generic")
"""The senders whose calls are identified by their signature."""


def sample(sender: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"receive_webhook.{sender}.json").read_text(encoding="utf-8"))
    return event


def hub(path: str = "team/app", tag: str = "1.0", secret: str = SECRET) -> dict[str, Any]:
    return url_event(f"/dockerhub/{secret}", {"push_data": {"tag": tag}, "repository": {"repo_name": path}})


@pytest.fixture
def receiving() -> WebhookReceiver:
    return WebhookReceiver()


@pytest.mark.parametrize("sender", sorted(HOSTS))
def test_sample_of_every_sender_queues_one_check(receiving: WebhookReceiver, sender: str) -> None:
    answer = receiving.receive(sample(sender))
    assert (answer.status, answer.outcome, answer.sender) == (202, WebhookOutcome.ACCEPTED, sender)
    assert answer.body == {"checks": 1, "merged": 0}
    now = receiving.clock()
    repository = repository_of(HOSTS[sender])
    assert receiving.queue.sent == [CheckRequest("webhook", repository, ("1.0",), now, settled=True, sender=sender)]
    replay = ["is_known"] if sender in SIGNING else []
    remember = ["remember"] if sender in SIGNING else []
    assert receiving.asked == [*replay, "claim", "take", "send", *remember]


class TestAuthentication:
    @pytest.mark.parametrize("sender", sorted(HOSTS))
    @pytest.mark.parametrize("secret", ["", "x", SECRET[:-1], SECRET + "x", SECRET.upper(), "\u00e4", "\ud800"])
    def test_request_without_the_secret_is_refused(self, receiving: WebhookReceiver, sender: str, secret: str) -> None:
        event = sample(sender)
        event["rawPath"] = f"/{sender}/{secret}"
        event["headers"] |= dict.fromkeys(("authorization", "x-gitlab-token", "x-jfrog-event-auth"), secret)
        event["headers"] |= {"x-hub-signature-256": f"sha256={secret}", "x-pullahead-signature": f"sha256={secret}"}
        answer = receiving.receive(event)
        assert (answer.status, answer.outcome) == (401, WebhookOutcome.UNAUTHENTICATED)
        assert answer.body == {"error": "the secret or signature is wrong"}
        assert receiving.asked == []

    @pytest.mark.parametrize("sender", ["github", "generic", "artifactory"])
    def test_path_secret_of_a_signing_sender_is_refused(self, receiving: WebhookReceiver, sender: str) -> None:
        event = sample(sender)
        event["rawPath"] = f"/{sender}/{SECRET}"
        event["headers"] = {"content-type": "application/json", "x-github-event": "package"}
        assert receiving.status(event) == 401

    @pytest.mark.parametrize("sender", ["harbor", "gitlab", "acr", "distribution", "quay"])
    def test_path_secret_is_accepted(self, receiving: WebhookReceiver, sender: str) -> None:
        event = sample(sender)
        event["headers"].pop("authorization", None)
        event["rawPath"] = f"/{sender}/{SECRET}"
        assert receiving.status(event) == 202

    @pytest.mark.parametrize("header", ["authorization", "x-gitlab-token"])
    def test_either_header_of_gitlab_is_accepted(self, receiving: WebhookReceiver, header: str) -> None:
        event = sample("gitlab")
        event["headers"] = {"content-type": "application/json", header: SECRET}
        assert receiving.status(event) == 202

    def test_secret_header_of_artifactory_is_accepted(self, receiving: WebhookReceiver) -> None:
        event = sample("artifactory")
        event["headers"]["x-jfrog-event-auth"] = SECRET
        assert receiving.status(event) == 202

    def test_changed_body_is_refused(self, receiving: WebhookReceiver) -> None:
        for sender in (*SIGNING, "artifactory"):
            event = sample(sender)
            event["body"] = event["body"].replace("1.0", "2.0")
            assert receiving.status(event) == 401

    def test_signature_in_capitals_is_refused(self, receiving: WebhookReceiver) -> None:
        event = sample("github")
        signature = event["headers"]["x-hub-signature-256"]
        event["headers"]["x-hub-signature-256"] = f"sha256={signature.removeprefix('sha256=').upper()}"
        assert receiving.status(event) == 401

    def test_both_secrets_are_accepted_during_a_rotation(self, receiving: WebhookReceiver) -> None:
        receiving.secrets.secrets = ("the-new-secret-of-them", SECRET)
        assert receiving.status(hub()) == 202
        assert receiving.status(hub(secret="the-new-secret-of-them")) == 202

    def test_rotated_secret_is_accepted_after_a_minute(self, receiving: WebhookReceiver) -> None:
        assert receiving.status(hub()) == 202
        receiving.secrets.secrets = ("the-new-secret-of-them",)
        receiving.clock.advance(seconds=61)
        assert receiving.status(hub(secret="the-new-secret-of-them")) == 202
        assert receiving.status(hub()) == 401

    def test_wrong_secrets_cause_one_read_a_minute(self, receiving: WebhookReceiver) -> None:
        for _ in range(600):
            receiving.clock.advance(seconds=0.1)
            assert receiving.status(hub(secret="guess")) == 401
        assert receiving.script.count("read_webhook_secrets") == 1


class TestMalformedRequests:
    @pytest.mark.parametrize(
        "path", ["/", "", "/nobody", "/nobody/secret", f"/dockerhub/{SECRET}/more", "/dockerhub/" + "x" * 2000]
    )
    def test_unknown_sender_is_not_found(self, receiving: WebhookReceiver, path: str) -> None:
        answer = receiving.receive(url_event(path, {}))
        assert (answer.status, answer.outcome) == (404, WebhookOutcome.UNKNOWN)
        assert receiving.script.calls == []

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
    def test_other_methods_are_refused(self, receiving: WebhookReceiver, method: str) -> None:
        answer = receiving.receive(url_event(f"/dockerhub/{SECRET}", "", method=method))
        assert (answer.status, answer.to_event()["headers"]["allow"]) == (405, "POST")
        assert receiving.script.calls == []

    @pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MAX_BODY_BYTES * 4])
    @pytest.mark.parametrize("kind", [str, bytes])
    def test_too_large_body_is_refused_unread(self, receiving: WebhookReceiver, size: int, kind: type) -> None:
        answer = receiving.receive(url_event("/github", "x" * size if kind is str else b"x" * size))
        assert (answer.status, answer.outcome) == (413, WebhookOutcome.MALFORMED)
        assert receiving.script.calls == []

    @pytest.mark.parametrize("kind", [str, bytes])
    def test_largest_body_is_read(self, receiving: WebhookReceiver, kind: type) -> None:
        assert (
            receiving.status(url_event("/github", "x" * MAX_BODY_BYTES if kind is str else b"x" * MAX_BODY_BYTES))
            == 401
        )

    def test_body_with_too_many_bytes_in_few_characters_is_refused(self, receiving: WebhookReceiver) -> None:
        assert receiving.status(url_event("/github", "\u20ac" * (MAX_BODY_BYTES // 2))) == 413

    @pytest.mark.parametrize("body", ["=", "a", "!!!!"])
    def test_invalid_base64_is_refused(self, receiving: WebhookReceiver, body: str) -> None:
        assert receiving.status({**url_event("/github", body), "isBase64Encoded": True}) == 400

    def test_form_is_refused_with_the_content_type_to_set(self, receiving: WebhookReceiver) -> None:
        answer = receiving.receive(
            url_event("/github", "payload=%7B%7D", content_type="application/x-www-form-urlencoded")
        )
        assert (answer.status, answer.outcome) == (415, WebhookOutcome.MALFORMED)
        assert "application/json" in str(answer.body)

    def test_event_of_another_source_is_invalid(self, receiving: WebhookReceiver) -> None:
        with pytest.raises(InvalidEventError):
            receiving.receive({"Records": []})


class TestFollowedTags:
    def test_repository_without_a_rule_is_not_found(self, receiving: WebhookReceiver) -> None:
        answer = receiving.receive(hub("team/other"))
        assert (answer.status, answer.outcome) == (404, WebhookOutcome.UNKNOWN)
        assert receiving.asked == []

    def test_tag_without_a_rule_is_ignored(self, receiving: WebhookReceiver) -> None:
        """Quay disables a notification that was refused a few times."""
        answer = receiving.receive(hub(tag="nightly"))
        assert (answer.status, answer.outcome) == (200, WebhookOutcome.IGNORED)
        assert receiving.asked == []

    @pytest.mark.parametrize("sender", ["distribution", "gitlab"])
    def test_repository_without_a_rule_is_ignored_for_senders_that_repeat_refusals(
        self, receiving: WebhookReceiver, sender: str
    ) -> None:
        event = sample(sender)
        receiving.rules = followed(rule("1.0"))
        answer = receiving.receive(event)
        assert (answer.status, answer.outcome) == (200, WebhookOutcome.UNKNOWN)
        assert receiving.asked == []

    def test_check_of_a_namespace_has_rule_and_upstream(self) -> None:
        receiving = WebhookReceiver(followed(namespace("team", "1.0", name="team")))
        body = {"docker_url": "quay.io/team/app", "updated_tags": ["1.0", "2.0"]}
        assert receiving.status(url_event(f"/quay/{SECRET}", body)) == 202
        (request,) = receiving.queue.sent
        assert (request.repository, request.tags) == ("quay/app", ("1.0",))
        assert (request.rule, request.upstream) == ("team", "quay.io/team/app")

    def test_rule_for_newest_tags_queues_a_listing(self) -> None:
        newest = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),), newest=3)
        receiving = WebhookReceiver(followed(rule(tags=newest)))
        event = generic_event({"repository": "ghcr.io/team/app", "tags": ["1", "2", "3"]}, receiving.clock())
        assert receiving.receive(event).body == {"checks": 1, "merged": 0}
        (request,) = receiving.queue.listings
        assert (request.rule, request.upstream) == ("app", None)
        assert receiving.queue.sent == []

    def test_tags_of_one_repository_share_a_message(self) -> None:
        tags = [str(number) for number in range(100)]
        receiving = WebhookReceiver(followed(rule(*tags)))
        event = generic_event({"repository": "ghcr.io/team/app", "tags": tags}, receiving.clock())
        assert receiving.receive(event).body == {"checks": 100, "merged": 0}
        assert [request.tags for request in receiving.queue.sent] == [tuple(tags)]
        assert receiving.script.count("send") == 1

    def test_tags_beyond_a_hundred_are_left_to_the_schedule(self) -> None:
        tags = [str(number) for number in range(150)]
        receiving = WebhookReceiver(followed(rule(*tags), rule(*tags, repository="mirror/second", name="second")))
        event = generic_event({"repository": "ghcr.io/team/app", "tags": tags}, receiving.clock())
        assert receiving.receive(event).body == {"checks": 100, "merged": 0, "left_to_the_schedule": 150}
        assert receiving.script.count("claim") == 100

    def test_changed_rules_are_indexed_again(self, receiving: WebhookReceiver) -> None:
        assert receiving.status(hub()) == 202
        receiving.rules = followed(rule("1.0"))
        assert receiving.status(hub()) == 404


class TestMerging:
    def test_second_request_is_checked_after_the_window_and_others_are_merged(self, receiving: WebhookReceiver) -> None:
        answers = [receiving.receive(hub()) for _ in range(4)]
        assert [answer.outcome for answer in answers] == [WebhookOutcome.ACCEPTED, *[WebhookOutcome.MERGED] * 3]
        assert answers[1].body == {"checks": 0, "merged": 1}
        assert receiving.queue.delays == [0, 60]
        receiving.clock.advance(seconds=60)
        assert receiving.receive(hub()).outcome is WebhookOutcome.ACCEPTED

    def test_merged_request_sends_nothing(self, receiving: WebhookReceiver) -> None:
        for _ in range(2):
            receiving.receive(hub())
        receiving.script.calls.clear()
        receiving.receive(hub())
        assert receiving.script.calls == ["claim"]

    @pytest.mark.parametrize(("good", "bad"), [(0, 1), (0, 3), (1, 1), (1, 2)])
    def test_retry_of_a_failed_request_is_not_merged(self, receiving: WebhookReceiver, good: int, bad: int) -> None:
        receiving.script.fail("send", StorageError("no"), times=bad, passing=good)
        assert [receiving.status(hub()) for _ in range(good + bad)] == [202] * good + [503] * bad
        merged = int(good > 0)  # then the check comes when the window ends
        assert receiving.receive(hub()).body == {"checks": 1 - merged, "merged": merged}
        assert len(receiving.queue.sent) == good + 1
        for _ in range(5):
            receiving.receive(hub())
        assert len(receiving.queue.sent) <= 1 + good + 1

    def test_retry_of_a_failed_request_is_not_merged_by_another_process(self, receiving: WebhookReceiver) -> None:
        receiving.script.fail("send", StorageError("no"))
        assert receiving.status(hub()) == 503
        assert receiving.process()(hub()).body == {"checks": 1, "merged": 0}

    def test_retry_is_not_merged_by_a_process_that_could_not_release(self, receiving: WebhookReceiver) -> None:
        receiving.script.fail("send", StorageError("no"))
        receiving.script.fail("release", StorageError("no"))
        assert receiving.status(hub()) == 503
        assert receiving.receive(hub()).body == {"checks": 1, "merged": 0}

    def test_failed_claim_loses_no_claimed_window(self, receiving: WebhookReceiver) -> None:
        receiving.rules = followed(rule("1", "2", "3"))
        event = url_event(f"/quay/{SECRET}", {"docker_url": "ghcr.io/team/app", "updated_tags": ["1", "2", "3"]})
        for _ in range(3):
            receiving.script.fail("claim", StorageError("no"), passing=2)
            assert receiving.status(event) == 503
        assert receiving.receive(event).body == {"checks": 3, "merged": 0}
        assert [request.tags for request in receiving.queue.sent] == [("1", "2", "3")]


class TestReplay:
    @pytest.mark.parametrize("sender", SIGNING)
    def test_replay_is_refused_after_one_read(self, receiving: WebhookReceiver, sender: str) -> None:
        receiving.receive(sample(sender))
        receiving.script.calls.clear()
        answer = receiving.receive(sample(sender))
        assert (answer.status, answer.outcome) == (409, WebhookOutcome.REPLAYED)
        assert receiving.asked == ["is_known"]

    def test_replay_with_another_delivery_id_is_refused(self, receiving: WebhookReceiver) -> None:
        receiving.receive(sample("github"))
        again = sample("github")
        again["headers"]["x-github-delivery"] = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
        assert receiving.status(again) == 409

    def test_replay_is_refused_by_another_process(self, receiving: WebhookReceiver) -> None:
        receiving.receive(sample("github"))
        assert receiving.process()(sample("github")).status == 409

    @pytest.mark.parametrize("operation", ["claim", "send", "remember"])
    def test_failed_request_may_be_retried(self, receiving: WebhookReceiver, operation: str) -> None:
        receiving.script.fail(operation, StorageError("no"))
        answer = receiving.receive(sample("github"))
        assert (answer.status, answer.outcome) == (503, WebhookOutcome.FAILED)
        assert answer.to_event()["headers"]["retry-after"] == "60"
        assert receiving.status(sample("github")) == 202
        assert receiving.queue.sent

    @pytest.mark.parametrize("seconds", [-301, 301, 86_400])
    def test_generic_request_with_an_old_timestamp_is_refused(self, receiving: WebhookReceiver, seconds: int) -> None:
        receiving.clock.advance(seconds=seconds)
        answer = receiving.receive(sample("generic"))
        assert (answer.status, answer.outcome) == (409, WebhookOutcome.REPLAYED)
        assert receiving.asked == []

    @pytest.mark.parametrize("seconds", [-300, 300])
    def test_timestamp_may_differ_by_five_minutes(self, receiving: WebhookReceiver, seconds: int) -> None:
        receiving.clock.advance(seconds=seconds)
        assert receiving.status(sample("generic")) == 202

    @pytest.mark.parametrize("moment", ["", "now", "1.5", "-1", "9" * 40, "\u0661"])
    def test_signed_timestamp_that_is_not_a_number_is_refused(self, receiving: WebhookReceiver, moment: str) -> None:
        body = sample("generic")["body"]
        signature = f"sha256={hmac_of(f'{moment}.{body}')}"
        event = url_event("/generic", body, x_pullahead_timestamp=moment, x_pullahead_signature=signature)
        assert receiving.status(event) == 409

    def test_changed_timestamp_is_refused(self, receiving: WebhookReceiver) -> None:
        event = sample("generic")
        event["headers"]["x-pullahead-timestamp"] = str(int(event["headers"]["x-pullahead-timestamp"]) + 1)
        assert receiving.status(event) == 401


class TestFailures:
    def test_unreadable_secret_asks_for_a_retry(self, receiving: WebhookReceiver) -> None:
        receiving.script.fail("read_webhook_secrets", ConfigError("the secret has no characters"))
        answer = receiving.receive(hub())
        assert (answer.status, answer.sender) == (503, "dockerhub")
        assert str(answer.error) == "the secret has no characters"
        assert "characters" not in str(answer.body)

    def test_ping_needs_only_the_signature(self, receiving: WebhookReceiver) -> None:
        answer = receiving.receive(github_event({"zen": "Design for failure."}, "ping"))
        assert (answer.status, answer.body) == (200, {"ignored": "pong"})
        assert receiving.asked == []
        assert receiving.status(github_event({"zen": "no"}, "ping", secret="other")) == 401


class TestReferrers:
    """Tags that keep what belongs to a digest: signatures are pushed after their images."""

    SUBJECT = digest("image")
    TAG = fallback_tag(SUBJECT)

    @pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
    def test_their_mirrors_are_looked_at(self, receiving: WebhookReceiver, suffix: str) -> None:
        answer = receiving.receive(hub(tag=f"{self.TAG}{suffix}"))
        assert (answer.status, answer.outcome) == (202, WebhookOutcome.ACCEPTED)
        assert answer.body == {"checks": 0, "merged": 0, "referrers": 1}
        assert receiving.queue.sent == []
        assert receiving.queue.referrers == [
            ReferrerNamed("docker.io/team/app", self.SUBJECT, receiving.clock()),
        ]

    def test_repository_that_no_rule_follows_is_unknown(self, receiving: WebhookReceiver) -> None:
        receiving.receive(hub("team/other", f"{self.TAG}.sig"))
        assert receiving.queue.referrers == []

    def test_other_tags_are_none(self, receiving: WebhookReceiver) -> None:
        assert receiving.receive(hub(tag=f"{self.TAG}.other")).outcome is WebhookOutcome.IGNORED
        assert receiving.queue.referrers == []

    def test_sender_whose_request_cannot_be_queued_may_retry(self, receiving: WebhookReceiver) -> None:
        receiving.queue.script.fail("send", StorageError("no"))
        assert receiving.status(hub(tag=f"{self.TAG}.sig")) == 503
        assert receiving.status(hub(tag=f"{self.TAG}.sig")) == 202


class TestLimitOfSenders:
    def test_sender_that_asks_for_too_many_checks_is_told_to_wait(self, receiving: WebhookReceiver) -> None:
        receiving.budget.limit = 1
        assert receiving.status(hub()) == 202
        refused = receiving.receive(hub())
        assert (refused.status, refused.outcome) == (429, WebhookOutcome.LIMITED)
        assert refused.headers["retry-after"] == "60"
        assert receiving.status(sample("quay")) == 202
        receiving.clock.advance(minutes=1)
        assert receiving.status(hub()) == 202

    def test_merged_requests_do_not_count(self, receiving: WebhookReceiver) -> None:
        receiving.budget.limit = 2
        assert [receiving.status(hub()) for _ in range(20)] == [202] * 20
        assert receiving.asked.count("take") == 2

    def test_limited_request_queues_nothing_and_may_be_repeated(self, receiving: WebhookReceiver) -> None:
        receiving.budget.limit = 0
        assert receiving.status(sample("github")) == 429
        assert (receiving.queue.sent, receiving.calls.known) == ([], {})
        assert receiving.asked == ["is_known", "claim", "take", "release"]
        receiving.clock.advance(minutes=1)
        receiving.budget.limit = 1
        assert receiving.status(sample("github")) == 202

    def test_request_that_one_process_refuses_is_not_merged_by_another(self, receiving: WebhookReceiver) -> None:
        now = receiving.clock()
        receiving.clock.advance(seconds=59 - now.second)
        receiving.budget.limit = 0
        assert [receiving.process()(hub()).status for _ in range(3)] == [429] * 3
        receiving.budget.limit = 1
        receiving.clock.advance(seconds=1)  # another minute, in the same event window
        assert receiving.process()(hub()).body == {"checks": 1, "merged": 0}

    def test_process_that_knows_of_the_limit_claims_nothing(self, receiving: WebhookReceiver) -> None:
        receiving.budget.limit = 0
        receiving.receive(hub())
        receiving.script.calls.clear()
        assert [receiving.status(hub()) for _ in range(20)] == [429] * 20
        assert receiving.asked == []


class TestSecretsOfSenders:
    def test_sender_with_a_secret_of_its_own_is_known_by_that_alone(self, receiving: WebhookReceiver) -> None:
        own = "the-secret-of-docker-hub"
        receiving.secrets.by_sender = {"dockerhub": (own.encode(),)}
        assert [receiving.status(hub(secret=secret)) for secret in (SECRET, own)] == [401, 202]
        assert receiving.status(sample("quay")) == 202

    def test_secret_of_one_sender_is_refused_for_another(self, receiving: WebhookReceiver) -> None:
        receiving.secrets.by_sender = {"github": (SECRET.encode(),), "dockerhub": (b"the-secret-of-docker-hub",)}
        assert [receiving.status(event) for event in (sample("github"), hub())] == [202, 401]

    def test_sender_that_has_no_secret_is_refused(self, receiving: WebhookReceiver) -> None:
        receiving.secrets.only_by_sender(github=SECRET)
        assert [receiving.status(event) for event in (sample("github"), sample("quay"), hub(secret=""))] == [
            202,
            401,
            401,
        ]
