"""This room checks what the user gives, the parameters and the data, and turns it into arrays.

`_parameter_checks` refuses parameters that do not go together. `_data_checks` takes arrays, sparse
matrices, frames (`_frames`), tensors (`_tensors`) and memory maps (`_memory_maps`). `_targets`
encodes labels and targets. `_hints` adds to errors what may have been meant, and `_imputer` is a
step of `tabular_pipeline`. The room imports torch only inside of functions.

Entered from outside: `_data_checks`, `_hints`, `_imputer`, `_parameter_checks`,
`_periodic_embedding`, `_targets`.
"""
