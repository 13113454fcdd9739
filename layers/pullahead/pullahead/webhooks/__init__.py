"""Webhooks: who may call, which tags a call names, which checks it queues."""
