"""This room holds what depends on versions and machines: compatibility, threads and devices.

`_compat` and `_sklearn_compat` hide differences between versions of libraries; the second does not
import torch. The room imports nothing else of this package.

Entered from outside: `_compat`, `_devices`, `_fork`, `_memory_alignment`, `_sklearn_compat`,
`_threads`, `_torch_settings`, `_user_code`, `_version`.
"""
