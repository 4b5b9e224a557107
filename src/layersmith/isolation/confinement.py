"""What examined code is kept from: other files than its scratch folder's, the network, graphics cards on request."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from layersmith.isolation import guard, landlock
from layersmith.isolation.namespace import leave_network

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tensors shared among processes live there
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_PROCESSES = Path("/proc")
_DEVICES = ("null", "zero", "full", "tty", "ptmx", "pts", "dri", "kfd", "nvidia*")
_CACHES = (  # whatever a library keeps between runs
    "XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR MPLCONFIGDIR "
    "NUMBA_CACHE_DIR WANDB_DIR TMPDIR TMP TEMP"
).split()
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "COMET_MODE": "disabled",
}
_QUIET = {
    "MPLBACKEND": "Agg",
    "TQDM_DISABLE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "KMP_WARNINGS": "0",
    # The driver's library, not the driver, is asked for graphics cards: after the latter, no fork can use one.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds, in words for the report, and whether anything was asked for that this system cannot do."""

    words: str
    is_whole: bool


def environment(scratch: Path, *, unconfined: bool, hide_cuda: bool) -> dict[str, str]:
    """Variables for the processes: temporary files and caches go to the scratch folder, hubs stay offline."""
    found = {**_QUIET, **({_VISIBLE: ""} if hide_cuda else {})}
    if not unconfined:
        hub = os.environ.get("HF_HOME") or str(  # what was downloaded before stays in reach
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
        )
        torch_hub = os.environ.get("TORCH_HOME") or str(
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
        )
        found |= {**_OFFLINE, **dict.fromkeys(_CACHES, str(scratch)), "HF_HOME": hub, "TORCH_HOME": torch_hub}
    return found


def confine(scratch: Path, *, unconfined: bool = False) -> Confinement:
    """Confine this process and all that it will start; call it before there is a second thread.

    Args:
        scratch: where code may write.
        unconfined: allow everything.
    """
    if unconfined:
        return Confinement("files and network in reach, as asked for by --unconfined", is_whole=True)
    network = leave_network()
    threads = [_PROCESSES] if _sees_cards() else []  # which a card's driver names; without, it does not start
    files = landlock.forbid_writes(beneath=(scratch, _SHARED_MEMORY, *threads), devices=_devices())
    guard.install(writable=(scratch, Path("/dev"), Path("/proc/self")))
    if files and network:
        return Confinement("no network, writes only in a scratch folder", is_whole=True)
    open_ways = [
        *(["write files from native code or other programs: no Landlock here"] if not files else []),
        *(["reach the network from native code: no network namespace here"] if not network else []),
    ]
    return Confinement(f"the code could {' and '.join(open_ways)}", is_whole=False)


def _sees_cards() -> bool:
    return os.environ.get(_VISIBLE) != "" and Path("/dev/nvidiactl").exists()


def _devices() -> list[Path]:
    return [path for name in _DEVICES for path in Path("/dev").glob(name)]
