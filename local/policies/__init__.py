"""docs/policies.md, written from template.yaml, so that what it says of permissions is what is deployed."""
