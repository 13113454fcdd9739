"""Images in files: OCI image layouts and archives of them, read and written like registries."""
