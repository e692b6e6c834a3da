"""Where a batch writes: a local directory or a bucket."""
