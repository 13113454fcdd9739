"""Webhooks: authenticate a request, read which tags it names, queue checks of the mirrors that follow them."""
