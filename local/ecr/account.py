"""The operations of the ECR API on account settings. Decides which there are and what they are until they are set.

Source: ECR API reference, PutAccountSetting.
"""

from collections.abc import Callable, Mapping
from typing import Any

from local.ecr.errors import invalid_parameter

Parameters = Mapping[str, Any]

_ALLOWED = {
    "BASIC_SCAN_TYPE_VERSION": ("AWS_NATIVE",),
    "BLOB_MOUNTING": ("DISABLED", "ENABLED"),
    "REGISTRY_POLICY_SCOPE": ("V1", "V2"),
}
"""What each may be; the first is what it is until it is set."""


class AccountSettings:
    """The settings of the one account."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    @property
    def mounts_blobs(self) -> bool:
        """Tell whether a layer may be mounted from another repository."""
        return self._value("BLOB_MOUNTING") == "ENABLED"

    def clear(self) -> None:
        """Forget what was set."""
        self._values.clear()

    def table(self) -> dict[str, Callable[[Parameters], dict[str, Any]]]:
        """List the operations by their names in the API."""
        return {"GetAccountSetting": self.get, "PutAccountSetting": self.put}

    def get(self, p: Parameters) -> dict[str, Any]:
        """GetAccountSetting."""
        return {"name": p["name"], "value": self._value(p["name"])}

    def put(self, p: Parameters) -> dict[str, Any]:
        """PutAccountSetting."""
        name, value = p["name"], p["value"]
        if value not in _ALLOWED.get(name, ()):
            raise invalid_parameter(f"'{value}' is no value of the account setting '{name}'")
        self._values[name] = value
        return {"name": name, "value": value}

    def _value(self, name: str) -> str:
        if name not in _ALLOWED:
            raise invalid_parameter(f"There is no account setting '{name}'")
        return self._values.get(name, _ALLOWED[name][0])
