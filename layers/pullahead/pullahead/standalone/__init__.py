"""The command line's one-process engine: compare, forecast, copy, sync; in-memory stores."""
