"""What to mirror, as people declare it: the model (`model`), and the strict reader of the file (`load`)."""
