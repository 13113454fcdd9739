"""`make demo` calls nothing that its roles may not."""

from tests.e2e.processes import run_module


def test_every_call_of_the_demo_is_allowed() -> None:
    done = run_module("tests.iam.demo_calls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "roles were seen at work" in done.stdout
