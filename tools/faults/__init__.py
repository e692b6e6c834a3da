"""Disturbs batches the way disks, kernels and people do."""
