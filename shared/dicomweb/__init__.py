"""The PS3.18 grammar as pure functions: media types, multipart bodies, queries, responses. No I/O, no Azure."""
