"""What people are told, when, and in which words; the review of all records."""
