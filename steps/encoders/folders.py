"""Folders of pretrained encoders, as the library transformers saves them: what a conf keeps of one, and its weights.

A folder has config.json and *.safetensors. Pickles are not read, and nothing is downloaded. A training keeps the config
and all weights, so that its detector does not need the folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch

from utils import conf as conf_files
from utils.cli import UserError
from utils.files import read_json, sha256_of

FAMILIES = {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel", "whisper": "WhisperEncoder"}
_HELP = "docs/encoders.md shows how to get encoders"
# Of a config.json: where it came from, and what would make transformers fetch code or choose another number format
_NOT_KEPT = ("architectures", "attn_implementation", "auto_map", "dtype", "quantization_config", "torch_dtype")


def plain_group(value: Any, where: str, source: str) -> dict[str, Any]:
    """A group of keys that transformers checks. Raises UserError for anything else."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: {value!r} where a group of keys is expected")
    return {str(key): item for key, item in value.items()}


@dataclass(frozen=True)
class EncoderConf:
    """config: the folder's config.json. normalise: whether the encoder reads utterances of mean 0 and variance 1.
    weights: SHA-256 of each file of weights. folder: where these lie; None: they come from the training."""

    config: Annotated[dict[str, Any], plain_group]
    normalise: bool
    weights: Annotated[dict[str, str], plain_group]
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        kept = {key: value for key, value in self.config.items() if key not in _NOT_KEPT and not key.startswith("_")}
        object.__setattr__(self, "config", kept)
        if self.family not in FAMILIES:
            raise ValueError(f"config.model_type: {self.family!r} is none of {', '.join(FAMILIES)}")

    @property
    def family(self) -> str:
        return str(self.config.get("model_type"))


def read_encoder(value: Any, where: str, source: str) -> EncoderConf:
    """What a conf's key says: a folder, its name relative to that of the conf `source`, or what a training kept of one.

    Raises UserError beginning with `where`.
    """
    if isinstance(value, Mapping):
        return conf_files.build(EncoderConf, value, {}, source, "model.encoder.")
    if not isinstance(value, str) or not value:
        raise UserError(f"{where}: {value!r} is not the name of a folder")
    folder = Path(source).parent / value
    if not folder.is_dir():
        raise UserError(f"{where}: {folder}: no such folder; {_HELP}")
    if not (folder / "config.json").is_file():
        raise UserError(f"{where}: {folder}: no config.json in it, so no encoder of transformers; {_HELP}")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{where}: {folder}: no .safetensors in it; other weights, such as .bin, are not read, as they can run "
            f"code; {_HELP}"
        )
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise UserError(f"{where}: {folder / 'config.json'}: not a group of keys; {_HELP}")
    normalise = config.get("model_type") != "whisper"
    if normalise and (preparing := folder / "preprocessor_config.json").is_file():
        normalise = bool(read_json(preparing).get("do_normalize", True))
    weights = {path.name: sha256_of(path) for path in files}
    try:
        return EncoderConf(config, normalise, weights, folder)
    except ValueError as error:
        raise UserError(f"{where}: {folder}: {error}") from None


def _class_of(family: str) -> Any:
    """The family's class in transformers. Raises UserError, which says how to get the library, where it lacks."""
    try:
        import transformers

        module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    except ImportError:
        raise UserError(
            "pretrained encoders need transformers and safetensors, which are not installed here; in the toolkit's "
            "folder give\n  python3 -m pip install -c constraints.txt -r requirements-encoders.txt"
        ) from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return getattr(module, FAMILIES[family])


def load_encoder(conf: EncoderConf) -> Any:
    """The encoder as a module of transformers in float32: with the weights of its folder, or random ones without it.

    Raises UserError for a folder whose weights are damaged, or lack some of the encoder's.
    """
    kind = _class_of(conf.family)
    # The file may hold Whisper's decoder too, or a head around any encoder.
    options = {"key_mapping": {r"^(model\.)?encoder\.": ""}} if conf.family == "whisper" else {}
    try:
        config = kind.config_class(**conf.config)
        if conf.folder is None:
            return kind(config)
        module, report = kind.from_pretrained(
            conf.folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # transformers and safetensors raise many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{conf.folder or 'model.encoder'}: not an encoder that can be read: {reason}") from None
    lacking = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})  # of pretraining alone
    if lacking:
        raise UserError(f"{conf.folder}: its weights lack {len(lacking)} tensors, such as {lacking[0]}; get them again")
    return module
