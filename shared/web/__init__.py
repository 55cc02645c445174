"""The HTTP edge: requests in, responses out, our errors mapped to statuses."""
