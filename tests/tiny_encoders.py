"""Folders of tiny encoders with random weights, as transformers saves them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps import nnet
from tests.conftest import ROOT

WIDTH, LAYERS = 16, 5
_SHARED: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
_STABLE: dict[str, Any] = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {  # class of transformers without its ending, settings
    "wav2vec2": ("Wav2Vec2", _SHARED),
    "xls_r": ("Wav2Vec2", {**_SHARED, **_STABLE}),
    "hubert": ("Hubert", _SHARED),
    "wavlm": ("WavLM", {**_SHARED, "num_buckets": 16, "max_bucket_distance": 40}),
    "wavlm_large": ("WavLM", {**_SHARED, **_STABLE, "num_buckets": 16, "max_bucket_distance": 40}),
    "whisper": (
        "Whisper",
        {
            "d_model": WIDTH,
            "encoder_layers": LAYERS,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 24,
            "vocab_size": 40,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
    ),
}


def make_encoder(family: str, seed: int = 0) -> Any:
    """The module of transformers."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (requirements-dev.txt)")
    import torch

    name, settings = FAMILIES[family]
    torch.manual_seed(seed)
    return getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings)).eval()


def save_encoder(folder: Path, family: str, seed: int = 0) -> Path:
    """A folder of config.json and model.safetensors."""
    make_encoder(family, seed).save_pretrained(folder)
    return folder


def encoder_conf(folder: Path, conf: str = "ssl_whisper_tiny", *settings: str) -> nnet.ModelConf:
    """A conf of conf/model with another encoder. settings: as `tune=all`."""
    given = [f"model.{setting}" for setting in (f"encoder={folder}", *settings)]
    return nnet.load_conf(ROOT / f"conf/model/{conf}.yaml", given)
