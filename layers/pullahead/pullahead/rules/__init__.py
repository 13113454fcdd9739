"""What to mirror: the model (`model`), and the strict loader of the rules file (`load`)."""
