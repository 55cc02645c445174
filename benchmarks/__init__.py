"""Measurements that anyone can repeat; benchmarks/README.md says how and what they are worth."""
