"""Lock files: every tag with its digest, every option as before, and a file that loads."""

from textwrap import dedent
from typing import Any

import pytest

from pullahead.errors import ConfigError
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.load import load_rules
from pullahead.rules.lock_file import LockedTag, write_lock
from pullahead.rules.model import Mirror, ReferrersPolicy, Rule, Rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
from tests.fakes.samples import digest

RULES = """\
    version: 1
    ignore: ["team/*"]
    sources: {resource_tags: false}
    defaults: {repository: "mirror/{path}", referrers: {exclude: ["application/x*"], late: 30d}}
    upstreams:
      localhost:5500:
        {plain_http: true, private_addresses: true, rate_limit: {requests_per_second: 2.5, reserve: 12.5%}}
      ghcr.io:
        credentials: [{path: "a/*", secret: ecr-pullthroughcache/a}, {role: "arn:aws:iam::123456789012:role/b"}]
    mirrors:
      - {upstream: ghcr.io/a/app, tags: ["1.*", {name: main, as: stable}], as: "{tag}-m", platforms: [linux/amd64],
         prune: {}}
      - upstream: ghcr.io/a/other
        tags: [latest]
        immutable_tags: ["l*"]
        when_deleted: leave
        keep_previous: {count: 5, for: 120d}
        admit:
          {mode: report, min_age: 1d12h, serve: current, first_copy: admit,
           scan: {block: [HIGH], wait: 3h}, exempt: [CVE-2026-1234]}
        max_layer_size: 1500MB
        max_image_size: 3TiB
        check_every: 1h30m
        alert_after: 2d
        referrers: {copy: false}
        create:
          tags: {team: a}
          kms_key: alias/aws/ecr
          scan_on_push: true
          tag_mutability: {IMMUTABLE_WITH_EXCLUSION: ["latest*"]}
          lifecycle_policy: {rules: []}
          repository_policy: '{"Statement": []}'
      - {name: team, upstream: quay.io/team/*, tags: ["v*"], referrers: {copy: [a/b], late: always}}
      - {name: none, upstream: ghcr.io/a/none, tags: ["x*"], create: {expire_untagged_days: 0}}
      - {name: bare, upstream: ghcr.io/a/bare, digests: ["DIGEST", {digest: "OTHER", as: golden}]}
    on_demand:
      - name: hub
        upstream: docker.io/*
        repository: "hub/{path}"
        allow: ["library/*"]
        deny: ["a/b:c*"]
        daily_limit: 7
""".replace("DIGEST", digest("bare")).replace("OTHER", digest("golden"))
SELECTED = {
    "mirror/a/app": ("1.0-m", "stable"),
    "mirror/a/other": ("latest",),
    "mirror/team/x": ("v1",),
    "mirror/team/y": ("v1", "v2"),
}


@pytest.fixture
def rules() -> Rules:
    return load_rules(dedent(RULES), source="rules.yaml")


def locked(rules: Rules) -> list[LockedTag]:
    mirrors = [rules.find(repository, tag) for repository, tags in SELECTED.items() for tag in tags]
    found = [LockedTag(each, digest(str(each.upstream))) for each in mirrors if each is not None]
    bare = [each for each in rules.mirrors if each.upstream.tag is None]
    return [*found, *(LockedTag(each, each.pin) for each in bare if each.pin is not None)]


def test_lock_pins_every_tag_and_keeps_every_option(rules: Rules) -> None:
    tags = locked(rules)
    read = load_rules(write_lock(rules, tags), source="lock")
    assert len(read.mirrors) == len(tags) == 8
    for each in tags:
        found = read.find(each.mirror.repository, each.mirror.tag)
        assert found is not None
        assert found.pin == each.digest
        assert found.upstream._replace(digest=None) == each.mirror.upstream._replace(digest=None)
        options = ("check_every", "alert_after", "platforms", "immutable", "restored", "sizes", "keep_previous", "key")
        assert [getattr(found, name) for name in options] == [getattr(each.mirror, name) for name in options]
        assert found.referrers == each.mirror.referrers or not each.mirror.referrers.copies_any
        creation = [known.creation_of(each.mirror.repository, each.mirror.tag) for known in (read, rules)]
        assert creation[0] == creation[1]
    assert (read.upstreams, read.opted_out, read.sources) == (rules.upstreams, rules.opted_out, rules.sources)
    assert [each for each in read.rules if each.on_demand] == [each for each in rules.rules if each.on_demand]


def test_lock_of_a_lock_is_the_same_but_for_the_names_of_namespaces(rules: Rules) -> None:
    first = write_lock(rules, locked(rules))
    read = load_rules(first, source="lock")
    again = write_lock(read, [LockedTag(each, each.pin or digest("")) for each in read.mirrors])
    assert again == first


def test_tags_have_a_line_each_and_the_file_is_the_same_for_the_same_digests(rules: Rules) -> None:
    text = write_lock(rules, locked(rules))
    assert text == write_lock(rules, locked(rules))
    assert f'      - "latest@{digest("ghcr.io/a/other:latest")}"\n' in text
    assert '- {"name": "main@' in text


def test_every_field_of_a_rule_is_written() -> None:
    """A field that is added to one of these belongs into `lock_file`, and then into RULES above.

    `prune` does not: it is about what patterns choose, of which a lock has none.
    """
    known: dict[Any, str] = {
        Rule: "name upstream repository tags check_every alert_after platforms immutable_tags settings source "
        "when_deleted on_demand referrers sizes keep_previous prune admit",
        ReferrersPolicy: "copy exclude late",
        RepositorySettings: "tags kms_key scan_on_push immutable_tags mutable_tag_filters lifecycle_policy "
        "repository_policy expire_untagged_days",
    }
    for kind, fields in known.items():
        assert kind._fields == tuple(fields.split())


def test_lock_that_would_lose_an_option_is_refused(rules: Rules) -> None:
    def strange(mirror: Mirror) -> Mirror:
        return mirror._replace(replicated_from="an option that the writer does not know")

    tags = [LockedTag(strange(each.mirror), each.digest) for each in locked(rules)]
    with pytest.raises(ConfigError, match="does not hold"):
        write_lock(rules, tags)


def test_lock_that_is_larger_than_rules_may_be_is_refused(rules: Rules) -> None:
    one = rules.find("mirror/a/app", "1.0-m")
    assert one is not None
    pin, tags = digest(""), [f"{n:0100}" for n in range(100)]
    many = [LockedTag(one._replace(upstream=one.upstream._replace(tag=tag), tag=f"{tag}-m"), pin) for tag in tags]
    size = len(write_lock(rules, many).encode())
    assert size < MAX_DOCUMENT_BYTES
    assert write_lock(rules, many, max_bytes=size)
    with pytest.raises(ConfigError, match=f"may have {size - 1} bytes, and the lock has {size}. .* --only"):
        write_lock(rules, many, max_bytes=size - 1)
