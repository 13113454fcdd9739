"""What is known of one mirror, and what follows from it: record, judge, outcome, outbox. Pure, but for ports."""
