"""What the function handlers share: SQS batches, dead letters, metrics."""
