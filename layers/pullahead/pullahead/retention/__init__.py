"""Remove from ECR what upstream removed, or what no rule chooses any more."""
