"""The AWS around ECR on one machine: moto, with what it lacks put beside it. Names the account and the region."""

from typing import Final

ACCOUNT_ID: Final = "123456789012"
REGION: Final = "eu-west-1"
# What moto accepts as credentials. They open nothing.
ACCESS_KEY: Final = "local"
SECRET_KEY: Final = "local"
