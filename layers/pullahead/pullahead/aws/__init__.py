"""Pullahead's own memory and voice in AWS: records, plans, queue, executions, alerts."""
