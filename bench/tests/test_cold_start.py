"""Which packages an import takes its time for."""

from bench.cold_start import spent_by_package

REPORT = """\
import time: self [us] | cumulative | imported package
import time:      9000 |       9000 | json
handler
import time:      2000 |       2000 |     yaml.reader
import time:      5500 |       7500 |   yaml
import time:      3000 |       3000 |   pullahead.rules.load
import time:      1000 |       4000 |   pullahead.rules
import time:      2000 |       2000 |   pullahead.oci
import time:       900 |      14400 | app
"""


def test_time_is_added_up_by_package_and_ours_by_its_parts() -> None:
    assert spent_by_package(REPORT) == {"yaml": 7, "pullahead.rules": 4, "pullahead.oci": 2, "app": 0}


def test_what_lambda_imports_before_is_not_counted() -> None:
    assert "json" not in spent_by_package(REPORT)
