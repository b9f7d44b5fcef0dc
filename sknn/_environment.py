"""Facts about the machine for a bug report: versions, devices, threads and precisions.

Nothing says whose machine it is: no path, no name of a user or of a host is included.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import joblib
from threadpoolctl import threadpool_info

from sknn._platform._version import __version__

REQUIRED = (
    *("scikit-learn", "torch", "skorch", "numpy", "scipy"),
    *("joblib", "threadpoolctl", "safetensors"),
)
OPTIONAL = (
    *("matplotlib", "skops", "distributed", "skl2onnx", "onnxruntime"),
    *("pandas", "polars", "pyarrow", "rich"),
)
# Environment variables that limit threads, or that say what threads do while they wait.
VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
    *("OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_DYNAMIC", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"),
)


def versions_of(names: tuple[str, ...]) -> dict[str, str]:
    """Return versions of packages from their metadata, without imports, which could fail."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def system() -> dict[str, str]:
    """Return facts about this package, Python, the platform and the cores."""
    return {
        "sknn": __version__,
        "python": sys.version.replace("\n", " "),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": f"{os.cpu_count()}, usable {joblib.cpu_count()}",
    }


def device_names() -> list[str]:
    """Return the names of the devices that torch can use on this machine."""
    import torch

    from sknn._platform._devices import is_present

    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), "mps"]
    return [name for name in names if is_present(name)]


def devices() -> dict[str, str]:
    """Return, for each device, what it is and in which precisions it computes."""
    import torch

    from sknn._platform._compat import has_bfloat16_unit

    found = {}
    for name in device_names():
        device = torch.device(name)
        kind = {"mps": "Apple's GPU"}.get(name, "")
        if device.type == "cuda":
            kind = f"{torch.cuda.get_device_name(device)}, "
            kind += (
                f"HIP {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
            )
        unit = "with a unit" if has_bfloat16_unit(device) else "without a unit: slow"
        dtypes = ["float32", *(["float64"] if name != "mps" else []), f"bfloat16 ({unit})"]
        found[name] = "; ".join(filter(None, [kind, ", ".join(dtypes)]))
    return found


def threads() -> dict[str, str]:
    """Return the numbers of threads of torch and of each BLAS and OpenMP library."""
    import torch

    n_between = torch.get_num_interop_threads()
    found = {"torch": f"{torch.get_num_threads()}, between operations {n_between}"}
    for library in threadpool_info():
        name = f"{library['prefix']} {library['version'] or ''}".strip()
        more = [library[key] for key in ("threading_layer", "architecture") if library.get(key)]
        text = ", ".join([str(library["num_threads"]), *more])
        # A process often has two libraries of a kind, one from NumPy and one from SciPy.
        found[name] = f"{found[name]}; {text}" if name in found else text
    for name in VARIABLES:
        value = os.environ.get(name)
        if value is not None:
            found[name] = value
    return found
