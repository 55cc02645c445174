"""PS3.5 and PS3.10 as pure functions: bytes and data sets in, values out. No I/O, no HTTP, no Azure."""
