"""Models of sound, and of several kinds of input."""

from typing import Any

import numpy as np

from tools.golden.families.family import Arrays, Family, labels
from tools.golden.frameworks import transformers

_WAV2VEC2 = {
    "vocab_size": 33,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 40,
    "conv_dim": [12, 12, 12],  # TensorFlow needs as many channels in as out
    "conv_kernel": [7, 4, 3],
    "conv_stride": [3, 2, 2],
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 18,
}
# The large models have this; the models without it are like the base models.
_STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
_UNMASKED = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}

_SPEECH = {
    "vocab_size": 67,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 44,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}

_CLIP_TEXT = {
    "vocab_size": 67,
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 14,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
_CLIP_VISION = {
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 16,
    "patch_size": 5,
    "num_channels": 3,
}
_BLIP_TEXT = {
    "vocab_size": 67,
    "hidden_size": 20,
    "encoder_hidden_size": 24,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 14,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "pad_token_id": 0,
}
_GROUPVIT_VISION = _CLIP_VISION | {
    "depths": [1, 2, 1],
    "num_hidden_layers": 4,
    "num_group_tokens": [8, 5, 0],
    "num_output_groups": [
        8,
        6,
        4,
    ],  # the first stage's outputs are the second projector's inputs
    "assign_mlp_ratio": [0.5, 2],
}


def _vit() -> Any:
    return transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=44,
        image_size=16,
        patch_size=5,
    )


def _vit_and_gpt2(architecture: str) -> Any:
    """Return an encoder that is wider than the decoder: a projection is between them."""
    decoder = transformers.GPT2Config(
        vocab_size=67,
        n_positions=38,
        n_embd=20,
        n_layer=2,
        n_head=5,
        n_inner=36,
        bos_token_id=0,
        eos_token_id=2,
        is_decoder=True,
        add_cross_attention=True,
    )
    return transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(_vit(), decoder)


def _vit_and_bert(architecture: str) -> Any:
    text = transformers.BertConfig(
        vocab_size=67,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=5,
        intermediate_size=36,
        max_position_embeddings=38,
        type_vocab_size=3,
    )
    return transformers.VisionTextDualEncoderConfig.from_vision_text_configs(_vit(), text, projection_dim=22)


def _audio(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return two waves, of which the second is shorter."""
    random = np.random.default_rng(0)
    mask = np.ones((2, 200), np.int64)
    mask[1, 150:] = 0
    return {"input_values": random.standard_normal((2, 200)).astype(np.float32), "attention_mask": mask}


def _spectrogram(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return spectrograms of the one length that Whisper takes: it has positions for that."""
    random = np.random.default_rng(0)
    shape = (2, config.num_mel_bins, 2 * config.max_source_positions)
    return {
        "input_features": random.standard_normal(shape).astype(np.float32),
        "decoder_input_ids": random.integers(3, config.vocab_size, (2, 7)),
    }


def _filter_banks(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    random = np.random.default_rng(0)
    shape = (2, 44, config.input_feat_per_channel * config.input_channels)
    mask = np.ones((2, 44), np.int64)
    mask[1, 30:] = 0
    return {
        "input_features": random.standard_normal(shape).astype(np.float32),
        "attention_mask": mask,
        "decoder_input_ids": random.integers(3, config.vocab_size, (2, 7)),
    }


def _text_and_image(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return the inputs that a class takes. TensorFlow's examples lack the mask of the text."""
    random = np.random.default_rng(0)
    text, vision = getattr(config, "text_config", config), getattr(config, "vision_config", config)
    mask = np.ones((2, 11), np.int64)
    mask[1, -3:] = 0
    ids = random.integers(3, getattr(text, "vocab_size", 4), (2, 11))
    ids[:, 0] = getattr(text, "bos_token_id", None) or 0
    all_inputs = {"input_ids": ids, "attention_mask": mask}
    if hasattr(vision, "image_size"):
        shape = (2, 3, vision.image_size, vision.image_size)
        all_inputs["pixel_values"] = random.standard_normal(shape).astype(np.float32)
    if architecture == "BlipForQuestionAnswering":
        all_inputs["decoder_input_ids"] = random.integers(3, text.vocab_size, (2, 7))
        mask[:] = 1  # the frameworks differ in how the answer attends to masked tokens of the question
        all_inputs["labels"] = all_inputs["decoder_input_ids"]  # the only output for the answer is the loss
    if architecture.startswith("BlipText"):
        all_inputs["encoder_hidden_states"] = random.standard_normal((2, 5, text.encoder_hidden_size)).astype(
            np.float32
        )
    wanted = {"VisionModel": ("pixel_values",), "TextModel": ("input_ids", "attention_mask")}
    for end, names in wanted.items():
        if architecture.endswith(end) and not architecture.startswith("BlipText"):
            return {name: all_inputs[name] for name in names}
    return all_inputs


def _image_and_answer(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    random = np.random.default_rng(0)
    shape = (2, 3, config.encoder.image_size, config.encoder.image_size)
    return {
        "pixel_values": random.standard_normal(shape).astype(np.float32),
        "decoder_input_ids": random.integers(3, config.decoder.vocab_size, (2, 7)),
    }


def _interleaved(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return two rows of text with two images each, and a token of the additional vocabulary in each row."""
    random = np.random.default_rng(0)
    size = config.vision_config.image_size
    ids = random.integers(3, config.vocab_size, (2, 11))
    ids[:, 4] = config.vocab_size + 1
    seen = np.ones((2, 11, 2), np.float32)  # TensorFlow ignores a mask of integers here
    seen[0, :3, 1] = 0
    return {
        "input_ids": ids,
        "attention_mask": np.ones((2, 11), np.int64),
        "pixel_values": random.standard_normal((2, 2, 3, size, size)).astype(np.float32),
        "image_attention_mask": seen,
    }


FAMILIES = {
    "wav2vec2": Family(
        _WAV2VEC2,
        {
            "Wav2Vec2ForCTC": _STABLE,
            "Wav2Vec2ForSequenceClassification": {"use_weighted_layer_sum": True, **_UNMASKED, **labels(3)},
        },
        inputs=_audio,
        golden="Wav2Vec2ForSequenceClassification",
    ),
    "hubert": Family(_WAV2VEC2, {"HubertForCTC": _STABLE | _UNMASKED}, inputs=_audio),
    "whisper": Family(
        _SPEECH | {"num_mel_bins": 10, "max_source_positions": 15, "max_target_positions": 13},
        inputs=_spectrogram,
    ),
    "speech_to_text": Family(
        _SPEECH
        | {
            "input_feat_per_channel": 7,
            "input_channels": 2,
            "conv_channels": 18,
            "conv_kernel_sizes": [5, 3],
            "max_source_positions": 60,
            "max_target_positions": 38,
        },
        {"Speech2TextForConditionalGeneration": {"tie_word_embeddings": False}},
        inputs=_filter_banks,
        golden="Speech2TextForConditionalGeneration",
    ),
    "clip_text_model": Family(_CLIP_TEXT, inputs=_text_and_image),
    "clip_vision_model": Family(_CLIP_VISION, inputs=_text_and_image),
    "clip": Family(
        {"text_config": _CLIP_TEXT, "vision_config": _CLIP_VISION, "projection_dim": 22}, inputs=_text_and_image
    ),
    "blip_text_model": Family(_BLIP_TEXT, inputs=_text_and_image, golden="BlipTextLMHeadModel"),
    "blip_vision_model": Family(_CLIP_VISION, inputs=_text_and_image),
    "blip": Family(
        {
            "text_config": _BLIP_TEXT,
            "vision_config": _CLIP_VISION,
            "projection_dim": 22,
            "image_text_hidden_size": 18,
        },
        # One text model attends to the image, the other one to the first: both need its size.
        {"BlipForQuestionAnswering": {"text_config": _BLIP_TEXT | {"hidden_size": 24}}},
        inputs=_text_and_image,
        golden="BlipForConditionalGeneration",
    ),
    "groupvit_text_model": Family(_CLIP_TEXT, inputs=_text_and_image),
    "groupvit_vision_model": Family(_GROUPVIT_VISION, inputs=_text_and_image),
    "groupvit": Family(
        {
            "text_config": _CLIP_TEXT,
            "vision_config": _GROUPVIT_VISION,
            "projection_dim": 22,
            "projection_intermediate_dim": 26,
        },
        inputs=_text_and_image,
    ),
    "idefics": Family(
        {
            "vocab_size": 67,
            "additional_vocab_size": 3,
            "hidden_size": 20,
            "intermediate_size": 36,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "cross_layer_interval": 2,
            "qk_layer_norms": True,
            "alpha_type": "vector",
            "alpha_initializer": "ones",
            "use_resampler": True,
            "vision_config": {
                "embed_dim": 24,
                "image_size": 16,
                "patch_size": 5,
                "intermediate_size": 44,
                "num_hidden_layers": 2,
                "num_attention_heads": 3,
            },
            "perceiver_config": {
                "use_resampler": True,
                "resampler_n_latents": 8,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 7,
                "qk_layer_norms_perceiver": True,
            },
        },
        {
            "IdeficsModel": {
                "use_resampler": False,
                "alpha_type": "float",
                "alpha_initializer": "zeros",
                "qk_layer_norms": False,
            }
        },
        inputs=_interleaved,
        golden="IdeficsForVisionText2Text",
    ),
    "vision-encoder-decoder": Family(make_config=_vit_and_gpt2, inputs=_image_and_answer),
    "vision-text-dual-encoder": Family(make_config=_vit_and_bert, inputs=_text_and_image),
}
