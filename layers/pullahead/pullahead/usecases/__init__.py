"""What the service does, one use case a module: ports in, results out. Every engine runs these and no others."""
