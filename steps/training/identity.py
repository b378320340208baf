"""What a training is identified by: the values of its conf that can change its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.augment import Chain
from steps.data.batches import way_of_reading
from steps.data.sources import FeatureSource
from steps.frontend import FrontEndBase
from steps.sections import WITHOUT_EFFECT
from steps.training.base import TrainConf
from utils.conf import to_dict
from utils.tables import read_big_map


def weights_depend_on(
    conf: TrainConf, data_dir: Path, source: FeatureSource, frontend: FrontEndBase, chain: Chain | None
) -> dict[str, Any]:
    """The values of a training's conf that can change its weights, trained on that set.

    Of how features are read only the order counts: shuffled, from memory or not, or by shards of so many MiB.
    """
    values = to_dict(conf)
    utterances = sum(1 for utt, _ in read_big_map(data_dir / "utt2label").pairs() if utt not in source.left_out)
    way = way_of_reading(conf.how_to_read(), conf.cache_mib, utterances, frontend, chain, source.storage is not None)
    for key in (*WITHOUT_EFFECT, "reading", "cache_mib", *(() if way == "shards" else ("shard_mib", "buffer_mib"))):
        del values[key]
    return {**values, "order (by reading and cache_mib)": "by shards" if way == "shards" else "shuffled"}
