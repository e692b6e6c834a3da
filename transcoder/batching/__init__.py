"""Whole directories of checkpoints: find them, convert and validate each in worker processes, and pick up again.

    find, lists -> items -> run (scheduling) -> executors -> work (one item) -> record (what "done" means)
                              \\-> page, status (what people see)

A failed item never stops the others. A file's existence is never taken as proof that an item is done.
"""
