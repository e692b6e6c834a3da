"""One RoBERTa in three containers, and its values as h5py reads them."""

from pathlib import Path
from typing import Any

import h5py

from tests.support.build import Array
from tests.support.paths import GOLDEN

SAME_MODEL_BY_KIND = {
    "keras-h5": GOLDEN / "roberta-model" / "tf_model.h5",
    "saved-model": GOLDEN / "roberta-model-saved-model" / "saved_model" / "1",
    "tf-checkpoint": GOLDEN / "roberta-model-checkpoint" / "ckpt-1",
}


def by_h5py(path: Path) -> dict[str, Array]:
    """Return the golden model's variables by their names below layer and scope."""
    arrays: dict[str, Array] = {}

    def keep(where: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[where.split("/", 2)[2].removesuffix(":0")] = node[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return arrays


WANTED_BYTES = {name: array.tobytes() for name, array in by_h5py(SAME_MODEL_BY_KIND["keras-h5"]).items()}
