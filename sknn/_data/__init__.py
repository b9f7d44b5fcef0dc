"""This room selects and moves rows: which ones, in what order, on which device, in which process.

`_rows` gives out rows a part at a time, `_batches` orders them into epochs, `_validation_split`
sets validation rows aside, and `_processes` and `_shards` spread rows over several processes. The
room imports torch, but neither the network nor skorch.

Entered from outside: `_batches`, `_csr`, `_processes`, `_rows`, `_shards`, `_validation_split`.
"""
