"""Which digest a tag may serve: the gates between a copy and the tag (docs/adr/0036-admission.md)."""
