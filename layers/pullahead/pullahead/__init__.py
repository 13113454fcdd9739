"""Pullahead keeps Amazon ECR ahead of its upstream registries."""
