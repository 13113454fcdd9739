"""Amazon ECR's own API as a target."""
