"""The rules that `make local` deploys: which file, when it is deployed again, and what is said of a mistake."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from local.deploy import DeploymentError
from local.live_rules import LiveRules, rules_text
from pullahead.rules.problems import RulesError
from pullahead.settings import OWN_RULES

ONE = 'version: 1\nmirrors:\n  - {upstream: docker.io/library/alpine, tags: ["3.20"], repository: mirror/alpine}\n'
TWO = ONE + '  - {upstream: docker.io/library/nginx, tags: ["1.*"], repository: mirror/nginx}\n'
BROKEN = ONE.replace("tags:", "tag:")


class Playground:
    """A rules file, the layer that is made of it, and how often that was deployed."""

    def __init__(self, folder: Path) -> None:
        self.file, self.layer = folder / "rules.yaml", folder / "layer"
        self.deployed: list[str] = []
        self.refusal: DeploymentError | None = None
        self.file.write_text(ONE, encoding="utf-8")
        self.rules = LiveRules(self.file, self.layer)

    def deploy(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.deployed.append((self.layer / "rules.yaml").read_text(encoding="utf-8"))

    def write(self, text: str) -> Sequence[str]:
        """Change the file, and look at it as often as it takes."""
        self.file.write_text(text, encoding="utf-8")
        return self.look_twice()

    def look_twice(self) -> Sequence[str]:
        return [*self.rules.reload(self.deploy), *self.rules.reload(self.deploy)]


@pytest.fixture
def playground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playground:
    monkeypatch.chdir(tmp_path)
    playground = Playground(tmp_path)
    playground.rules.begin()
    return playground


def test_rules_are_in_the_layer_from_the_beginning(playground: Playground) -> None:
    assert (playground.layer / "rules.yaml").read_text(encoding="utf-8") == ONE
    assert playground.look_twice() == []
    assert playground.deployed == []


def test_changed_file_is_deployed_once(playground: Playground) -> None:
    (line,) = playground.write(TWO)
    assert line == "rules.yaml is deployed: 2 rules, 1 exact tag, 1 pattern; what is due is checked now"
    assert playground.look_twice() == []
    assert playground.deployed == [TWO]


def test_file_that_is_still_being_written_waits(playground: Playground) -> None:
    playground.file.write_text("version", encoding="utf-8")
    assert playground.rules.reload(playground.deploy) == ()
    playground.file.write_text(TWO, encoding="utf-8")
    assert playground.rules.reload(playground.deploy) == ()
    assert len(playground.rules.reload(playground.deploy)) == 1
    assert playground.deployed == [TWO]


def test_mistake_is_said_once_with_its_line_and_hint_and_the_old_rules_stay(playground: Playground) -> None:
    lines = playground.write(BROKEN)
    assert "rules.yaml:3: mirrors[0]: unknown key 'tag'. Did you mean tags?" in lines
    assert lines[-1] == "The old rules stay in use"
    assert playground.look_twice() == []
    assert playground.deployed == []
    assert (playground.layer / "rules.yaml").read_text(encoding="utf-8") == ONE


def test_mended_file_is_deployed(playground: Playground) -> None:
    playground.write(BROKEN)
    playground.write(TWO)
    assert playground.deployed == [TWO]


def test_file_that_is_as_before_is_not_deployed_again(playground: Playground) -> None:
    playground.write(BROKEN)
    assert playground.write(ONE) == ["rules.yaml is as it was deployed"]
    assert playground.deployed == []


def test_file_that_goes_and_comes_back_is_said(playground: Playground) -> None:
    playground.file.unlink()
    assert playground.look_twice() == [
        "rules.yaml cannot be read: No such file or directory. The old rules stay in use"
    ]
    assert playground.look_twice() == []
    assert len(playground.write(TWO)) == 1


def test_refused_deployment_is_said_and_tried_with_the_next_change(playground: Playground) -> None:
    playground.refusal = DeploymentError("there is no stack pullahead")
    assert playground.write(TWO) == ["there is no stack pullahead", "The old rules stay in use"]
    playground.refusal = None
    playground.write(TWO + "# again\n")
    assert len(playground.deployed) == 1


def test_many_mistakes_are_cut(playground: Playground) -> None:
    lines = playground.write("version: 1\nmirrors:\n" + "  - {}\n" * 50)
    assert len(lines) == 22
    assert lines[-2].startswith("and ")


def test_file_that_is_not_utf_8_is_said(playground: Playground) -> None:
    playground.file.write_bytes(ONE.encode() + b"# \xff\n")
    assert "is not UTF-8" in playground.look_twice()[0]


def test_folder_has_the_users_own_file_or_the_example(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(ONE, encoding="utf-8")
    rules = LiveRules(tmp_path, tmp_path / "layer")
    assert rules_text(rules.begin()) == "1 rule, 1 exact tag, 0 patterns"
    (tmp_path / OWN_RULES).write_text(TWO, encoding="utf-8")
    assert rules.path.name == OWN_RULES
    deployed: list[None] = []
    assert len([*rules.reload(lambda: deployed.append(None)), *rules.reload(lambda: deployed.append(None))]) == 1
    assert len(deployed) == 1


def test_missing_file_and_mistakes_end_the_start(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"RulesLayer: .*none\.yaml cannot be read"):
        LiveRules(tmp_path / "none.yaml", tmp_path / "layer").begin()
    (tmp_path / "rules.yaml").write_text(BROKEN, encoding="utf-8")
    with pytest.raises(RulesError, match="Did you mean tags"):
        LiveRules(tmp_path / "rules.yaml", tmp_path / "layer").begin()


def test_public_key_beside_the_rules_is_deployed_with_them(playground: Playground) -> None:
    key = playground.file.with_name("cosign.pub")
    pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    key.write_text(pem, encoding="utf-8")
    signed = ONE.replace("}\n", ", admit: {verify: {any: [{key: cosign.pub}]}}}\n")
    (line,) = playground.write(signed)
    assert "is deployed" in line
    assert (playground.layer / "cosign.pub").read_text(encoding="utf-8") == pem
    key.unlink()
    assert "there is no file cosign.pub beside the rules" in "\n".join(playground.look_twice())
    playground.write(ONE)
    assert not (playground.layer / "cosign.pub").exists()
