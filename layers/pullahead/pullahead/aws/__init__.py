"""Adapters to the stack's own AWS resources: table, bucket, queues, topics, secrets."""
