"""What registries tell by webhook: who may call, and which upstream tags a call names. Pure; asks nobody."""
