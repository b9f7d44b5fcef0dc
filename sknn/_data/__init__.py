"""This room holds rows: which ones, in what order, on which device, and in which process.

`_rows` gives out rows some at a time, `_batches` orders them into epochs, `_split` sets validation
rows aside, and `_processes` and `_shards` spread rows over several processes. The room imports
torch, but neither the network nor skorch.

Entered from outside: `_batches`, `_csr`, `_processes`, `_rows`, `_shards`, `_split`.
"""
