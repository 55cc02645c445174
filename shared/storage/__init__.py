"""Blobs and the index. The only package, beside the composition root, that knows Azure Storage."""
