"""Pullahead keeps Amazon ECR ahead of its upstream registries."""

__version__ = "0.1.0"
