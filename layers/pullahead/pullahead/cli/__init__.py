"""The command line. Each command is a module with `add_arguments` and `run`; only the module that runs is imported."""
