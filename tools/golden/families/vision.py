"""Models of images."""

from typing import Any

import numpy as np

from tools.golden.families.family import Arrays, Family, labels

_VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "image_size": 30,
    "patch_size": 6,
}
_SAM_VISION = {
    "hidden_size": 24,
    "output_channels": 16,  # the hidden size of the prompt encoder and of the mask decoder
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 4,
    "mlp_dim": 40,
    "window_size": 3,
    "global_attn_indexes": [1],
    "num_pos_feats": 8,
}


def _masked(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Mask some patches, so that the mask token matters."""
    if architecture.endswith("MaskedImageModeling"):
        patches = (config.image_size // config.patch_size) ** 2
        inputs["bool_masked_pos"] = np.random.default_rng(1).random((2, patches)) < 0.4
    return inputs


def _noise(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Add the noise by which a masked autoencoder chooses the patches that it keeps."""
    patches = (config.image_size // config.patch_size) ** 2
    inputs["noise"] = np.random.default_rng(1).random((2, patches)).astype(np.float32)
    return inputs


def _prompts(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Add prompts of every kind: points on and off the object, boxes, and a mask."""
    random = np.random.default_rng(1)
    size = config.vision_config.image_size
    corners = random.integers(0, size // 2, (2, 3, 2))
    return inputs | {
        "input_points": random.integers(0, size, (2, 3, 2, 2)).astype(np.float32),
        "input_labels": random.integers(0, 2, (2, 3, 2)),
        "input_boxes": np.concatenate([corners, corners + size // 3], axis=-1).astype(np.float32),
        "input_masks": random.standard_normal((2, 1, size, size)).astype(np.float32),
    }


FAMILIES = {
    "vit": Family(
        _VIT,
        {"ViTModel": {"pooler_output_size": 20}, "ViTForImageClassification": labels(3)},
    ),
    "vit_mae": Family(
        _VIT
        | {
            "decoder_hidden_size": 20,
            "decoder_num_hidden_layers": 3,
            "decoder_num_attention_heads": 5,
            "decoder_intermediate_size": 36,
        },
        inputs=_noise,
        golden="ViTMAEForPreTraining",
    ),
    "deit": Family(
        _VIT | {"encoder_stride": 6},
        {
            "DeiTModel": {"pooler_output_size": 20},
            "DeiTForImageClassification": labels(3),
            "DeiTForImageClassificationWithTeacher": labels(5),
        },
        inputs=_masked,
        golden="DeiTForImageClassificationWithTeacher",
    ),
    "swin": Family(
        {
            "image_size": 24,
            "patch_size": 2,
            "embed_dim": 12,
            "depths": [2, 3],
            "num_heads": [2, 4],
            "window_size": 3,
            "mlp_ratio": 2.5,
            "encoder_stride": 4,
        },
        {"SwinForImageClassification": labels(5), "SwinForMaskedImageModeling": {"qkv_bias": False}},
        inputs=_masked,
        golden="SwinForImageClassification",
    ),
    "convnext": Family(
        {"num_stages": 2, "hidden_sizes": [8, 12], "depths": [2, 3], "image_size": 32},
        {"ConvNextModel": {"layer_scale_init_value": 0.0}, "ConvNextForImageClassification": labels(5)},
        golden="ConvNextForImageClassification",
    ),
    "convnextv2": Family(
        {"num_stages": 2, "hidden_sizes": [8, 12], "depths": [2, 3], "image_size": 32},
        {"ConvNextV2ForImageClassification": labels(5)},
        golden="ConvNextV2ForImageClassification",
    ),
    "cvt": Family(
        {
            "embed_dim": [8, 12, 18],
            "depth": [1, 2, 3],  # fewer in the last two and TensorFlow fails
            "num_heads": [1, 2, 3],
            "mlp_ratio": [2.0, 3.0, 4.0],
            "qkv_bias": [True, False, True],
            "image_size": 32,  # no key of CvtConfig, but TensorFlow's models look for it when they are saved
        },
        {"CvtForImageClassification": labels(5)},
        golden="CvtForImageClassification",
    ),
    "data2vec-vision": Family(
        _VIT | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "use_relative_position_bias": True},
        {
            "Data2VecVisionModel": {
                "use_mask_token": True,
                "use_absolute_position_embeddings": True,
                "use_relative_position_bias": False,
                "use_shared_relative_position_bias": True,
                "layer_scale_init_value": 0.0,
            },
            "Data2VecVisionForImageClassification": labels(3),
            # TensorFlow pools what the pool before it gave, not the features: with one scale there is none before.
            "Data2VecVisionForSemanticSegmentation": {
                "pool_scales": [1],
                "auxiliary_channels": 20,
                "auxiliary_num_convs": 2,
                "auxiliary_concat_input": True,
                **labels(5),
            },
        },
        golden="Data2VecVisionForImageClassification",
    ),
    "efficientformer": Family(
        {
            "depths": [1, 2, 3],
            "hidden_sizes": [8, 12, 20],
            "downsamples": [True, True, True],
            "dim": 20,
            "key_dim": 5,
            "attention_ratio": 3,
            "resolution": 3,
            "num_attention_heads": 2,
            "mlp_expansion_ratio": 4,
            "image_size": 48,
        },
        {
            "EfficientFormerModel": {"use_layer_scale": False},
            "EfficientFormerForImageClassification": labels(7),
            # EfficientFormerConfig has no such key, but PyTorch's class reads it.
            "EfficientFormerForImageClassificationWithTeacher": {"hidden_size": 20, **labels(9)},
        },
        golden="EfficientFormerForImageClassificationWithTeacher",
    ),
    "mobilevit": Family(
        {
            "hidden_sizes": [4, 6, 8],
            "neck_hidden_sizes": [2, 3, 5, 7, 9, 10, 12],
            "num_attention_heads": 2,
            "mlp_ratio": 1.5,
            "expand_ratio": 3.0,
            "image_size": 64,
            "aspp_out_channels": 11,
        },
        {
            "MobileViTForImageClassification": labels(5),
            "MobileViTForSemanticSegmentation": {"qkv_bias": False, **labels(7)},
        },
    ),
    "regnet": Family(
        {"embedding_size": 10, "hidden_sizes": [8, 12], "depths": [2, 3], "groups_width": 4},
        {"RegNetModel": {"layer_type": "x"}, "RegNetForImageClassification": labels(5)},
        golden="RegNetForImageClassification",
    ),
    "resnet": Family(
        {"embedding_size": 6, "hidden_sizes": [8, 12], "depths": [2, 3]},
        {
            "ResNetModel": {"layer_type": "basic", "embedding_size": 8},  # as in ResNet-18: no shortcut at the front
            "ResNetForImageClassification": labels(5),
        },
        golden="ResNetForImageClassification",
    ),
    "segformer": Family(
        {
            "num_encoder_blocks": 3,
            "depths": [1, 2, 2],
            "sr_ratios": [4, 2, 1],
            "hidden_sizes": [8, 12, 20],
            "patch_sizes": [7, 3, 3],
            "strides": [4, 2, 2],
            "num_attention_heads": [1, 2, 4],
            "mlp_ratios": [2, 3, 4],
            "decoder_hidden_size": 18,
            "image_size": 64,
        },
        {"SegformerForImageClassification": labels(5), "SegformerForSemanticSegmentation": labels(7)},
        golden="SegformerForSemanticSegmentation",
        skip={
            "SegformerDecodeHead": "its one input, a list of feature maps, has no name, and transformers 5 has it as "
            "a module only; SegformerForSemanticSegmentation contains all of it"
        },
    ),
    "swiftformer": Family(
        {
            "image_size": 32,
            "depths": [2, 3],
            "embed_dims": [8, 12],
            "mlp_ratio": 3,
            "downsamples": [True, True],
        },
        {
            "SwiftFormerModel": {
                "depths": [1, 2, 2],
                "embed_dims": [8, 8, 12],
                "downsamples": [False, True, True],
            },
            "SwiftFormerForImageClassification": labels(5),
        },
        golden="SwiftFormerForImageClassification",
    ),
    "sam_vision_model": Family(_SAM_VISION),
    "sam": Family(
        {
            "vision_config": _SAM_VISION,
            "prompt_encoder_config": {
                "hidden_size": 16,
                "image_size": 32,
                "patch_size": 4,
                "mask_input_channels": 12,
            },
            "mask_decoder_config": {
                "hidden_size": 16,
                "mlp_dim": 36,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "iou_head_depth": 4,
                "iou_head_hidden_dim": 20,
            },
        },
        inputs=_prompts,
    ),
}
