"""The whole service on one machine, told as a story: `make demo`. Decides nothing; it drives, watches and compares."""
