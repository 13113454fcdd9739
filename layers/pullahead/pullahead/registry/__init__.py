"""The HTTP client of OCI registries: `client` reads every upstream, `push` writes to a target."""
