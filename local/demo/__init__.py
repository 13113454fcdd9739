"""The whole service on one machine, step by step: `make demo`. It drives the service and compares results."""
