"""`pullahead …` on a command line: the service's own use cases in one process. Decides what people see; copies nothing.

Modules here import what is slow to import (an HTTP client, boto3, rich) only where a command needs it.
"""
