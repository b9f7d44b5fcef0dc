"""This room holds rows: which ones, in what order, on which device, and in which process.

It imports torch, but neither the network nor skorch. Training enters `_batches`, `_shards` and
`_processes`; inference and the steps take rows from `_rows`.
"""
