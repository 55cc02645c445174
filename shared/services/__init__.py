"""One module per transaction: store, retrieve, search, delete, sweep. No HTTP, no Azure types."""
