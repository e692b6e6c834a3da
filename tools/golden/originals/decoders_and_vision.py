"""The original releases of text decoders, sequence-to-sequence models and vision models."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from tools.golden.originals.original import Array, Arrays, Original, Shape

Variables = dict[str, Shape]


def dense(name: str, inputs: int, outputs: int) -> Variables:
    """tf.layers.dense."""
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, size: int) -> Variables:
    """tf.contrib.layers.layer_norm."""
    return {f"{name}/LayerNorm/beta": (size,), f"{name}/LayerNorm/gamma": (size,)}


def scaled(name: str, size: int) -> Variables:
    """OpenAI's norm."""
    return {f"{name}/g": (size,), f"{name}/b": (size,)}


def conv1d(name: str, inputs: int, outputs: int) -> Variables:
    """OpenAI's dense layer, a convolution of width 1."""
    return {f"{name}/w": (1, inputs, outputs), f"{name}/b": (outputs,)}


def into(part: str) -> Callable[[Any, Any, str], None]:
    """The loader of the class, for what lies at ``part`` of the model where it has one."""

    def loaded(model: Any, config: Any, path: str) -> None:
        type(model).load_tf_weights(getattr(model, part, model), config, path)

    return loaded


def through(architecture: str) -> Callable[[Any, Any, str], None]:
    """The loader of a class with a head, for the transformer below it."""

    def loaded(model: Any, config: Any, path: str) -> None:
        whole = getattr(transformers, architecture)(config)
        with torch.no_grad():
            for own, other in zip(whole.transformer.parameters(), model.parameters(), strict=True):
                own.copy_(other)
        type(whole).load_tf_weights(whole, config, path)
        model.load_state_dict(whole.transformer.state_dict())

    return loaded


# OpenAI ---------------------------------------------------------------------------------------------------------------


def gpt2_block(at: str, width: int, inner: int) -> Variables:
    return {
        **conv1d(f"{at}/attn/c_attn", width, 3 * width),
        **conv1d(f"{at}/attn/c_proj", width, width),
        **scaled(f"{at}/ln_1", width),
        **conv1d(f"{at}/mlp/c_fc", width, inner),
        **conv1d(f"{at}/mlp/c_proj", inner, width),
        **scaled(f"{at}/ln_2", width),
    }


def gpt2(config: Any) -> Variables:
    """openai/gpt-2, src/model.py."""
    width = config.hidden_size
    variables: Variables = {"model/wpe": (config.n_positions, width), "model/wte": (config.vocab_size, width)}
    for i in range(config.n_layer):
        variables |= gpt2_block(f"model/h{i}", width, 4 * width)
    return variables | scaled("model/ln_f", width)


def gpt(config: Any) -> Variables:
    """openai/finetune-transformer-lm, train.py; the order is that of the released arrays."""
    variables: Variables = {
        "model/we_positions": (config.n_positions, config.n_embd),
        "model/we": (config.vocab_size, config.n_embd),
    }
    for i in range(config.n_layer):
        variables |= gpt2_block(f"model/h{i}", config.n_embd, 4 * config.n_embd)
    return variables


def write_gpt(directory: Path, arrays: Arrays) -> str:
    """The release's ten pieces of all arrays one behind another, and their shapes."""
    whole = np.concatenate([array.reshape(-1) for array in arrays.values()])
    for i, piece in enumerate(np.array_split(whole, 10)):
        np.save(directory / f"params_{i}.npy", piece)
    (directory / "params_shapes.json").write_text(json.dumps([list(array.shape) for array in arrays.values()]))
    return "params_shapes.json"


def load_gpt(model: Any, config: Any, path: str) -> None:
    """The loader asks for names that came with a PyTorch port, not with the release."""
    names = Path(path).with_name("parameters_names.json")
    names.write_text(json.dumps([f"{name}:0" for name in gpt(config) if name != "model/we_positions"]))
    type(model).load_tf_weights(getattr(model, "transformer", model), config, str(names.parent))
    names.unlink()


def image_gpt(config: Any) -> Variables:
    """openai/image-gpt, src/model.py; with --clf, the classifier beside it."""
    width, heads, inner = config.n_embd, config.n_head, 4 * config.n_embd
    variables: Variables = {
        "model/wpe": (config.n_positions, width),
        "model/wte": (config.vocab_size - 1, width),
        "model/wtet": (config.vocab_size - 1, width),
        "model/sos": (width,),
    }
    for i in range(config.n_layer):
        at = f"model/h{i}"
        for part in ("q_proj", "k_proj", "v_proj", "c_proj"):
            variables[f"{at}/attn/{part}"] = (heads, width // heads, width)
        variables |= {f"{at}/ln_1/g": (width,), f"{at}/ln_2/g": (width,)}
        variables |= {f"{at}/mlp/c_fc/w": (width, inner), f"{at}/mlp/c_proj/w": (inner, width)}
    return variables | {"model/ln_f/g": (width,)}


def image_gpt_classifier(config: Any) -> Variables:
    return image_gpt(config) | {"model/clf/wclf": (config.num_labels, config.n_embd)}


def no_biases(root: str, layers: int, width: int) -> Callable[[Arrays], Arrays]:
    """PyTorch's layers have biases; where the release has none, they are zero."""
    sizes = {"attn.c_attn": 3 * width, "attn.c_proj": width, "mlp.c_fc": 4 * width, "mlp.c_proj": width}

    def truth(arrays: Arrays) -> Arrays:
        zero: Arrays = {
            f"{root}h.{i}.{name}.bias": np.zeros(size, np.float32)
            for i in range(layers)
            for name, size in sizes.items()
        }
        if "model/clf/wclf" in arrays:
            zero["score.weight"] = arrays["model/clf/wclf"]
        return zero

    return truth


# Mesh TensorFlow ------------------------------------------------------------------------------------------------------


def slotted(variables: Variables, *slots: str) -> Variables:
    """Mesh TensorFlow's optimizers write their slots behind the name, not below it."""
    return variables | {name + slot: shape[:1] for name, shape in variables.items() for slot in slots}


def gpt_neo(config: Any) -> Variables:
    """EleutherAI/gpt-neo, models/gpt2/gpt2.py and models/layers.py; the vocabulary is padded to a multiple of 128."""
    width, inner = config.hidden_size, 4 * config.hidden_size
    padded = -(-config.vocab_size // 128) * 128
    variables: Variables = {"gpt2/wte": (padded, width), "gpt2/wpe": (config.max_position_embeddings, width)}
    for i in range(config.num_layers):
        at = f"gpt2/h{i}"
        variables |= scaled(f"{at}/norm_1", width) | scaled(f"{at}/norm_2", width)
        variables |= {f"{at}/attn/{part}": (width, width) for part in "qkvo"}
        variables[f"{at}/attn/compute_output_bias/o_b"] = (width,)
        variables |= dense(f"{at}/mlp/conv1d_main/c_fc", width, inner)
        variables |= dense(f"{at}/mlp/conv1d_main/c_proj", inner, width)
    return variables | scaled("gpt2/ln_f", width)


def t5(config: Any) -> Variables:
    """tensorflow/mesh, transformer/transformer.py, transformer_layers.py and attention.py."""
    width, inner, heads = config.d_model, config.num_heads * config.d_kv, config.num_heads
    variables: Variables = {"shared/embedding": (config.vocab_size, width)}
    for side, depth in (("encoder", config.num_layers), ("decoder", config.num_decoder_layers)):
        for i in range(depth):
            layers = ["SelfAttention", *["EncDecAttention"] * (side == "decoder"), "DenseReluDense"]
            for j, layer in enumerate(layers):
                at = f"{side}/block_{i:03d}/layer_{j:03d}"
                variables[f"{at}/layer_norm/scale"] = (width,)
                if layer != "DenseReluDense":
                    variables |= {f"{at}/{layer}/{part}": (width, inner) for part in "qkv"}
                    variables[f"{at}/{layer}/o"] = (inner, width)
                    continue
                for wi in ("wi_0", "wi_1") if config.is_gated_act else ("wi",):
                    variables[f"{at}/{layer}/{wi}/kernel"] = (width, config.d_ff)
                variables[f"{at}/{layer}/wo/kernel"] = (config.d_ff, width)
        bias = f"{side}/block_000/layer_000/SelfAttention/relative_attention_bias"
        variables[bias] = (heads, config.relative_attention_num_buckets)
        variables[f"{side}/final_layer_norm/scale"] = (width,)
    if not config.tie_word_embeddings:
        variables["decoder/logits/kernel"] = (width, config.vocab_size)
    return slotted(variables, "_slot_vc", "_slot_vr")


# Others of text -------------------------------------------------------------------------------------------------------


def xlnet(config: Any) -> Variables:
    """zihangdai/xlnet, modeling.py: transformer_xl."""
    width, heads, size = config.d_model, config.n_head, config.d_head
    stack = (config.n_layer,) if config.untie_r else ()
    at = "model/transformer"
    variables: Variables = {
        f"{at}/word_embedding/lookup_table": (config.vocab_size, width),
        f"{at}/mask_emb/mask_emb": (1, 1, width),
        f"{at}/seg_embed": (config.n_layer, 2, heads, size),
        **{f"{at}/{name}": (*stack, heads, size) for name in ("r_w_bias", "r_r_bias", "r_s_bias")},
    }
    for i in range(config.n_layer):
        layer = f"{at}/layer_{i}"
        variables |= {f"{layer}/rel_attn/{part}/kernel": (width, heads, size) for part in "qkvro"}
        variables |= norm(f"{layer}/rel_attn", width) | norm(f"{layer}/ff", width)
        variables |= dense(f"{layer}/ff/layer_1", width, config.d_inner)
        variables |= dense(f"{layer}/ff/layer_2", config.d_inner, width)
    return variables


def xlnet_pretraining(config: Any) -> Variables:
    return xlnet(config) | {"model/lm_loss/bias": (config.vocab_size,)}


def xlnet_finetuned(config: Any) -> Variables:
    """A fine-tuned model, which predicts no masked words and so has nothing that stands for them."""
    variables = xlnet(config)
    del variables["model/transformer/mask_emb/mask_emb"]
    return variables


def xlnet_task(kind: str) -> Callable[[Any], Variables]:
    """run_classifier.py: get_classification_loss, get_regression_loss; modeling.py: summarize_sequence."""

    def variables(config: Any) -> Variables:
        return {
            **xlnet_finetuned(config),
            **dense("model/sequnece_summary/summary", config.d_model, config.d_model),
            **dense(f"model/{kind}_{config.finetuning_task}/logit", config.d_model, config.num_labels),
        }

    return variables


def xlnet_race(config: Any) -> Variables:
    """function_builder.py: get_race_loss."""
    summary = dense("model/sequnece_summary/summary", config.d_model, config.d_model)
    return xlnet_finetuned(config) | summary | dense("logits/dense", config.d_model, 1)


def xlnet_squad(config: Any) -> Variables:
    """function_builder.py: get_qa_outputs."""
    width = config.d_model
    return {
        **xlnet_finetuned(config),
        **dense("start_logits/dense", width, 1),
        **dense("end_logits/dense_0", 2 * width, width),
        **norm("end_logits", width),
        **dense("end_logits/dense_1", width, 1),
        **dense("answer_class/dense_0", 2 * width, width),
        "answer_class/dense_1/kernel": (width, 1),
    }


def no_mask(tensors: Mapping[str, str], width: int) -> Callable[[Arrays], Arrays]:
    """What a fine-tuned XLNet has of its heads by the names of the release, kernels turned, and no mask."""

    def truth(arrays: Arrays) -> Arrays:
        found: Arrays = {"transformer.mask_emb": np.zeros((1, 1, width), np.float32)}
        for tensor, variable in tensors.items():
            found[tensor] = arrays[variable].T if variable.endswith("kernel") else arrays[variable]
        return found

    return truth


def shared_biases(arrays: Arrays) -> Arrays:
    at = "model/transformer"
    biases = {
        f"transformer.layer.{i}.rel_attn.{x}": arrays[f"{at}/{x}"].copy()
        for i in range(XLNET["n_layer"])
        for x in ("r_w_bias", "r_r_bias", "r_s_bias")
    }
    segments = {f"transformer.layer.{i}.rel_attn.seg_embed": s for i, s in enumerate(arrays[f"{at}/seg_embed"])}
    return biases | segments


def transfo_xl(config: Any) -> Variables:
    """kimiyoung/transformer-xl, tf/model.py: transformer, mask_adaptive_embedding_lookup, mask_adaptive_logsoftmax."""
    width, embed, heads = config.d_model, config.d_embed, config.n_head * config.d_head
    ends = [0, *config.cutoffs, config.vocab_size]
    stack = (config.n_layer,) if config.untie_r else ()
    variables: Variables = {
        f"transformer/{x}": (*stack, config.n_head, config.d_head) for x in ("r_w_bias", "r_r_bias")
    }
    if config.div_val == 1:
        variables["transformer/adaptive_embed/lookup_table"] = (config.vocab_size, embed)
        if embed != width:
            variables["transformer/adaptive_embed/proj_W"] = (embed, width)
    if not config.cutoffs:
        variables["transformer/adaptive_softmax/bias"] = (config.vocab_size,)
        ends = []
    for i, (start, stop) in enumerate(pairwise(ends)):
        narrow, softmax = embed // config.div_val**i, f"transformer/adaptive_softmax/cutoff_{i}"
        if config.div_val != 1:
            at = f"transformer/adaptive_embed/cutoff_{i}"
            variables |= {f"{at}/lookup_table": (stop - start, narrow), f"{at}/proj_W": (narrow, width)}
        variables[f"{softmax}/b"] = (stop - start,)
        if not config.tie_projs[i] and not (config.div_val == 1 and width == narrow):
            variables[f"{softmax}/proj"] = (narrow, width)
        if i == 0:
            clusters = len(config.cutoffs)
            variables |= {f"{softmax}/cluster_W": (clusters, embed), f"{softmax}/cluster_b": (clusters,)}
    for i in range(config.n_layer):
        at = f"transformer/layer_{i}"
        variables |= {
            f"{at}/rel_attn/qkv/kernel": (width, 3 * heads),
            f"{at}/rel_attn/r/kernel": (width, heads),
            f"{at}/rel_attn/o/kernel": (heads, width),
            **norm(f"{at}/rel_attn", width),
            **dense(f"{at}/ff/layer_1", width, config.d_inner),
            **dense(f"{at}/ff/layer_2", config.d_inner, width),
            **norm(f"{at}/ff", width),
        }
    return variables


def of_characters(arrays: Arrays) -> Arrays:
    """A Transformer-XL of one cluster as wide as the model."""
    return {
        "transformer.word_emb.emb_layers.0.weight": arrays["transformer/adaptive_embed/lookup_table"],
        "crit.out_layers.0.bias": arrays["transformer/adaptive_softmax/bias"],
        **{
            f"transformer.layers.{i}.dec_attn.{x}": bias.copy()
            for x in ("r_w_bias", "r_r_bias")
            for i, bias in enumerate(arrays[f"transformer/{x}"])
        },
    }


def of_one_width(arrays: Arrays) -> Arrays:
    """A Transformer-XL whose clusters are equally wide and whose layers share their biases."""
    at, soft = "transformer", "transformer/adaptive_softmax"
    found: Arrays = {
        "transformer.word_emb.emb_layers.0.weight": arrays[f"{at}/adaptive_embed/lookup_table"],
        "transformer.word_emb.emb_projs.0": arrays[f"{at}/adaptive_embed/proj_W"].T,
        "crit.out_layers.0.bias": np.concatenate([arrays[f"{soft}/cutoff_{i}/b"] for i in range(3)]),
        "crit.out_projs.0": arrays[f"{soft}/cutoff_0/proj"].T,
        "transformer.r_w_bias": arrays[f"{at}/r_w_bias"],
        "transformer.r_r_bias": arrays[f"{at}/r_r_bias"],
    }
    return found


def load_of_one_width(model: Any, config: Any, path: str) -> None:
    """The loader looks for a table in each cluster, and for biases in each layer: it gets those that it can find."""
    import tensorflow as tf

    turned = {"qkv": "dec_attn.qkv_net", "r": "dec_attn.r_net", "o": "dec_attn.o_net"}
    state = model.state_dict()
    for name, _ in tf.train.list_variables(path):
        levels = name.split("/")
        if len(levels) > 3 and levels[1].startswith("layer_") and levels[-1] in ("kernel", "bias", "gamma", "beta"):
            layer = f"transformer.layers.{levels[1].removeprefix('layer_')}"
            tensor = {
                "rel_attn/LayerNorm": "dec_attn.layer_norm",
                "ff/LayerNorm": "pos_ff.layer_norm",
                "ff/layer_1": "pos_ff.CoreNet.0",
                "ff/layer_2": "pos_ff.CoreNet.3",
            }.get("/".join(levels[2:4]))
            tensor = tensor or turned[levels[3]]
            leaf = "weight" if levels[-1] in ("kernel", "gamma") else "bias"
            array = tf.train.load_variable(path, name)
            state[f"{layer}.{tensor}.{leaf}"].copy_(torch.from_numpy(array.T if levels[-1] == "kernel" else array))
    for name in ("weight", "bias") if config.cutoffs else ():
        array = tf.train.load_variable(
            path, f"transformer/adaptive_softmax/cutoff_0/cluster_{name[0].replace('w', 'W')}"
        )
        state[f"crit.cluster_{name}"].copy_(torch.from_numpy(array))


def pegasus(config: Any) -> Variables:
    """google-research/pegasus, models/transformer.py, layers/transformer_block.py and layers/attention.py."""
    width = config.d_model
    variables: Variables = {"embeddings/weights": (config.vocab_size, width)}
    for side, depth, inner in (
        ("encoder", config.encoder_layers, config.encoder_ffn_dim),
        ("decoder", config.decoder_layers, config.decoder_ffn_dim),
    ):
        for i in range(depth):
            at = f"{side}/layer_{i}"
            for attention in ("self_attention", *["memory_attention"] * (side == "decoder")):
                variables |= norm(f"{at}/{attention}", width)
                for part in ("q_proj", "k_proj", "v_proj", "output_proj"):
                    variables[f"{at}/{attention}/{part}/kernel"] = (width, width)
            variables |= norm(f"{at}/ffn", width) | dense(f"{at}/ffn/dense", width, inner)
            variables |= dense(f"{at}/ffn/dense_1", inner, width)
        variables |= norm(side, width)
    return variables


def load_pegasus(model: Any, config: Any, path: str) -> None:
    """What convert_pegasus_tf_to_pytorch.py of transformers does: it is a script there, no loader of the class."""
    import tensorflow as tf

    state = model.model.state_dict()
    for name, tensor in state.items():
        if name.endswith("bias"):
            tensor.zero_()
    model.final_logits_bias.zero_()
    levels = {"self_attention": "self_attn", "memory_attention": "encoder_attn", "output_proj": "out_proj"}
    for name, _ in tf.train.list_variables(path):
        if "Adafactor" in name or "global_step" in name:
            continue
        side, *rest, leaf = name.split("/")
        leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf)
        array = tf.train.load_variable(path, name)
        if side == "embeddings":
            array = array.copy()
            array[config.pad_token_id] = 0
            target = "shared.weight"
        elif rest == ["LayerNorm"]:
            target = f"{side}.layer_norm.{leaf}"
        else:
            layer, part, what = rest
            layer = layer.replace("_", "s.")
            if what == "LayerNorm":
                inside = f"{levels[part]}_layer_norm" if part != "ffn" else "final_layer_norm"
            else:
                inside = {"dense": "fc1", "dense_1": "fc2"}.get(what, f"{levels.get(part)}.{levels.get(what, what)}")
            target = f"{side}.{layer}.{inside}.{leaf}"
            array = array.T if array.ndim == 2 else array
        state[target].copy_(torch.from_numpy(np.array(array)))


# Vision ---------------------------------------------------------------------------------------------------------------


def batch_norm(name: str, size: int) -> Variables:
    """slim.batch_norm with its scale."""
    return {f"{name}/BatchNorm/{x}": (size,) for x in ("beta", "gamma", "moving_mean", "moving_variance")}


def conv(name: str, inputs: int, outputs: int, width: int = 1) -> Variables:
    """slim.conv2d."""
    return {f"{name}/weights": (width, width, inputs, outputs), **batch_norm(name, outputs)}


def depthwise(name: str, channels: int) -> Variables:
    """slim.separable_conv2d without its second half."""
    return {f"{name}/depthwise_weights": (3, 3, channels, 1), **batch_norm(name, channels)}


def averaged(variables: Variables) -> Variables:
    """Each trained variable's moving average and optimizer's slots, as the published checkpoints have them."""
    trained = {name: shape for name, shape in variables.items() if "moving_" not in name}
    slots = ("ExponentialMovingAverage", "RMSProp", "RMSProp_1")
    return variables | {f"{name}/{slot}": shape for name, shape in trained.items() for slot in slots}


def mobilenet_v1(config: Any) -> Variables:
    """tensorflow/models, research/slim/nets/mobilenet_v1.py."""
    depths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    depths = [max(int(depth * config.depth_multiplier), config.min_depth) for depth in depths]
    variables = conv("MobilenetV1/Conv2d_0", config.num_channels, depths[0], 3)
    for i, (inputs, outputs) in enumerate(pairwise(depths), start=1):
        variables |= depthwise(f"MobilenetV1/Conv2d_{i}_depthwise", inputs)
        variables |= conv(f"MobilenetV1/Conv2d_{i}_pointwise", inputs, outputs)
    at = "MobilenetV1/Logits/Conv2d_1c_1x1"
    variables |= {f"{at}/weights": (1, 1, depths[-1], config.num_labels), f"{at}/biases": (config.num_labels,)}
    return averaged(variables)


def divisible(channels: float, divisor: int = 8) -> int:
    """research/slim/nets/mobilenet/mobilenet.py: make_divisible."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def mobilenet_v2_base(config: Any) -> Variables:
    """tensorflow/models, research/slim/nets/mobilenet/mobilenet_v2.py: V2_DEF up to layer_18."""
    counts = [(16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)]
    channels = [divisible(n * config.depth_multiplier) for n, count in counts for _ in range(count)]
    stem = divisible(32 * config.depth_multiplier)
    variables = conv("MobilenetV2/Conv", config.num_channels, stem, 3)
    variables |= depthwise("MobilenetV2/expanded_conv/depthwise", stem)
    variables |= conv("MobilenetV2/expanded_conv/project", stem, channels[0])
    for i, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        at, wide = f"MobilenetV2/expanded_conv_{i}", divisible(inputs * 6)
        variables |= conv(f"{at}/expand", inputs, wide) | depthwise(f"{at}/depthwise", wide)
        variables |= conv(f"{at}/project", wide, outputs)
    return variables


def mobilenet_v2(config: Any) -> Variables:
    last = 1280 if config.depth_multiplier < 1 else divisible(1280 * config.depth_multiplier)
    variables = mobilenet_v2_base(config)
    variables |= conv("MobilenetV2/Conv_1", divisible(320 * config.depth_multiplier), last)
    at = "MobilenetV2/Logits/Conv2d_1c_1x1"
    return variables | {f"{at}/weights": (1, 1, last, config.num_labels), f"{at}/biases": (config.num_labels,)}


def mobilenet_v2_averaged(config: Any) -> Variables:
    return averaged(mobilenet_v2(config))


def deeplab(config: Any) -> Variables:
    """tensorflow/models, research/deeplab/model.py, upon core/feature_extractor.py's layer_18."""
    last = divisible(320 * config.depth_multiplier)
    variables = mobilenet_v2_base(config) | conv("image_pooling", last, 256) | conv("aspp0", last, 256)
    variables |= conv("concat_projection", 512, 256)
    variables |= {"logits/semantic/weights": (1, 1, 256, config.num_labels)}
    return variables | {"logits/semantic/biases": (config.num_labels,)}


def no_last_convolution(arrays: Arrays) -> Arrays:
    """DeepLab has no last convolution; PyTorch's class does, and never reads what it gives."""
    outputs, inputs = 1280, arrays["MobilenetV2/expanded_conv_16/project/weights"].shape[-1]
    at = "mobilenet_v2.conv_1x1"
    filled: dict[str, tuple[Shape, int]] = {
        f"{at}.convolution.weight": ((outputs, inputs, 1, 1), 0),
        f"{at}.normalization.weight": ((outputs,), 1),
        f"{at}.normalization.running_var": ((outputs,), 1),
        f"{at}.normalization.bias": ((outputs,), 0),
        f"{at}.normalization.running_mean": ((outputs,), 0),
    }
    result: dict[str, Array] = {name: np.full(shape, value, np.float32) for name, (shape, value) in filled.items()}
    return result


GPT2 = {"vocab_size": 67, "n_positions": 29, "n_embd": 24, "n_layer": 3, "n_head": 4}
GPT_NEO = {
    "vocab_size": 67, "max_position_embeddings": 29, "hidden_size": 24, "num_layers": 3, "num_heads": 4,
    "attention_types": [[["global", "local", "global"], 1]],
}  # fmt: skip
IMAGE_GPT = {"vocab_size": 42, "n_positions": 36, "n_embd": 24, "n_layer": 3, "n_head": 4}
T5 = {
    "vocab_size": 67, "d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 9,
}  # fmt: skip
T5_DEEP = T5 | {"d_model": 6, "d_kv": 2, "num_heads": 3, "d_ff": 4, "num_layers": 13, "num_decoder_layers": 12}
T5_1_1 = T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
XLNET: dict[str, Any] = {"vocab_size": 67, "d_model": 24, "n_layer": 3, "n_head": 4, "d_inner": 40}
XLNET_RELEASE = {"n_token": 67, "d_model": 24, "n_layer": 3, "n_head": 4, "d_head": 6, "d_inner": 40, "untie_r": True}
TRANSFO_XL = {
    "vocab_size": 67, "cutoffs": [20, 41], "d_model": 24, "d_embed": 20, "n_head": 3, "d_head": 7, "d_inner": 40,
    "div_val": 2, "n_layer": 3,
}  # fmt: skip
ONE_WIDTH = TRANSFO_XL | {"div_val": 1, "untie_r": False}
CHARACTERS = TRANSFO_XL | {"cutoffs": [], "d_embed": 24, "div_val": 1}
PEGASUS = {
    "vocab_size": 67, "d_model": 24, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 44, "encoder_attention_heads": 4, "decoder_attention_heads": 3, "max_position_embeddings": 29,
}  # fmt: skip
MOBILENET = {"depth_multiplier": 0.25, "num_labels": 11}
MOBILENET_V2 = {"depth_multiplier": 0.35, "num_labels": 11}
ADAM = ("Adam", "Adam_1")
BIASES = "PyTorch's biases, which the release lacks, are zero; transformers leaves them to the class's initialisation"
MASK = "the reference leaves a fine-tuned model's mask_emb, which is never read, and heads but of regression"

ORIGINALS = {
    "gpt2-tf1/GPT2LMHeadModel": Original(
        GPT2, gpt2, slots=(), counters={}, load=into("transformer"),
        release={"n_vocab": 67, "n_ctx": 29, "n_embd": 24, "n_layer": 3, "n_head": 4},
    ),
    "gpt2-tf1/GPT2Model": Original(GPT2, gpt2, slots=(), counters={}),
    "decision-transformer-tf1/DecisionTransformerGPT2Model": Original(
        {**GPT2, "hidden_size": 24}, gpt2, slots=(), counters={}
    ),
    "openai-gpt-tf1/OpenAIGPTLMHeadModel": Original(
        GPT2, gpt, slots=(), counters={}, write=write_gpt, load=load_gpt, release=None
    ),
    "openai-gpt-tf1/OpenAIGPTModel": Original(
        GPT2, gpt, slots=(), counters={}, write=write_gpt, load=load_gpt, release=None
    ),
    "imagegpt-tf1/ImageGPTForCausalImageModeling": Original(
        IMAGE_GPT, image_gpt, truth=no_biases("transformer.", 3, 24), why=BIASES, release=None
    ),
    "imagegpt-tf1/ImageGPTModel": Original(
        IMAGE_GPT, image_gpt, withheld=("model/wtet*",), load=through("ImageGPTForCausalImageModeling"),
        truth=no_biases("", 3, 24), why=BIASES, release=None,
    ),
    "imagegpt-tf1/ImageGPTForImageClassification": Original(
        IMAGE_GPT | {"num_labels": 5}, image_gpt_classifier, withheld=("model/wtet*", "model/clf/*"),
        truth=no_biases("transformer.", 3, 24), why=BIASES, release=None,
    ),
    "gpt-neo-tf1/GPTNeoForCausalLM": Original(GPT_NEO, gpt_neo, release=None),
    "gpt-neo-tf1/GPTNeoModel": Original(GPT_NEO, gpt_neo, load=through("GPTNeoForCausalLM"), release=None),
    "t5-tf1/T5ForConditionalGeneration": Original(T5, t5, slots=(), release=None),
    "t5-tf1/T5ForConditionalGeneration+gated": Original(T5_1_1, t5, slots=(), release=None),
    "t5-tf1/T5ForConditionalGeneration+deep": Original(T5_DEEP, t5, slots=(), release=None),
    "t5-tf1/T5Model": Original(T5_1_1, t5, slots=(), withheld=("decoder/logits/*",), release=None),
    "t5-tf1/T5EncoderModel": Original(T5_1_1, t5, slots=(), withheld=("decoder/*",), release=None),
    "mt5-tf1/MT5ForConditionalGeneration": Original(T5_1_1, t5, slots=(), release=None),
    "mt5-tf1/MT5EncoderModel": Original(T5_1_1, t5, slots=(), withheld=("decoder/*",), release=None),
    "xlnet-tf1/XLNetLMHeadModel": Original(XLNET, xlnet_pretraining, slots=ADAM, release=XLNET_RELEASE),
    "xlnet-tf1/XLNetModel": Original(XLNET, xlnet_pretraining, slots=ADAM, release=XLNET_RELEASE),
    "xlnet-tf1/XLNetLMHeadModel+shared": Original(
        XLNET | {"untie_r": False}, xlnet_pretraining, slots=ADAM, release=None, truth=shared_biases,
        load=lambda model, config, path: load_xlnet_shared(model, path), why="the reference fails at untie_r: false",
    ),
    "xlnet-tf1/XLNetForSequenceClassification+regression": Original(
        XLNET | {"num_labels": 1, "finetuning_task": "sts-b"}, xlnet_task("regression"), slots=ADAM, why=MASK,
        truth=no_mask({}, 24), release=None,
    ),
    "xlnet-tf1/XLNetForSequenceClassification": Original(
        XLNET | {"num_labels": 5, "finetuning_task": "mnli"}, xlnet_task("classification"), slots=ADAM, why=MASK,
        truth=no_mask({f"logits_proj.{k}": f"model/classification_mnli/logit/{v}"
                       for k, v in (("weight", "kernel"), ("bias", "bias"))}, 24), release=None,
    ),
    "xlnet-tf1/XLNetForMultipleChoice": Original(
        XLNET, xlnet_race, slots=ADAM, why=MASK, release=None,
        truth=no_mask({"logits_proj.weight": "logits/dense/kernel", "logits_proj.bias": "logits/dense/bias"}, 24),
    ),
    "xlnet-tf1/XLNetForQuestionAnswering": Original(
        XLNET, xlnet_squad, slots=ADAM, why=MASK, release=None,
        truth=no_mask({
            "start_logits.dense.weight": "start_logits/dense/kernel",
            "start_logits.dense.bias": "start_logits/dense/bias",
            "end_logits.dense_0.weight": "end_logits/dense_0/kernel",
            "end_logits.dense_0.bias": "end_logits/dense_0/bias",
            "end_logits.LayerNorm.weight": "end_logits/LayerNorm/gamma",
            "end_logits.LayerNorm.bias": "end_logits/LayerNorm/beta",
            "end_logits.dense_1.weight": "end_logits/dense_1/kernel",
            "end_logits.dense_1.bias": "end_logits/dense_1/bias",
            "answer_class.dense_0.weight": "answer_class/dense_0/kernel",
            "answer_class.dense_0.bias": "answer_class/dense_0/bias",
            "answer_class.dense_1.weight": "answer_class/dense_1/kernel",
        }, 24),
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel": Original(
        TRANSFO_XL, transfo_xl, slots=ADAM, release=None, computed=("transformer.pos_emb.inv_freq",)
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+untied": Original(
        TRANSFO_XL | {"proj_share_all_but_first": False}, transfo_xl, slots=ADAM, release=None,
        computed=("transformer.pos_emb.inv_freq",),
    ),
    "transfo-xl-tf1/TransfoXLModel": Original(
        TRANSFO_XL, transfo_xl, slots=ADAM, release=None, computed=("pos_emb.inv_freq",)
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+one-width": Original(
        ONE_WIDTH, transfo_xl, slots=ADAM, release=None, load=load_of_one_width, truth=of_one_width,
        why="the reference looks for a table in each cluster and for biases in each layer",
        computed=("transformer.pos_emb.inv_freq",),
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+characters": Original(
        CHARACTERS, transfo_xl, slots=ADAM, release=None, load=load_of_one_width, truth=of_characters,
        why="the reference looks for a table in each cluster",
        computed=("transformer.pos_emb.inv_freq",),
    ),
    "pegasus-tf1/PegasusForConditionalGeneration": Original(
        PEGASUS, pegasus, slots=("Adafactor", "Adafactor_1"), load=load_pegasus, release=None,
        computed=tuple(f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")),
    ),
    "mobilenet-v1-tf1/MobileNetV1ForImageClassification": Original(MOBILENET, mobilenet_v1, slots=(), release=None),
    "mobilenet-v1-tf1/MobileNetV1Model": Original(MOBILENET, mobilenet_v1, slots=(), release=None),
    "mobilenet-v2-tf1/MobileNetV2ForImageClassification": Original(
        MOBILENET_V2, mobilenet_v2_averaged, slots=(), release=None
    ),
    "mobilenet-v2-tf1/MobileNetV2ForImageClassification+wide": Original(
        {"depth_multiplier": 1.4, "num_labels": 11}, mobilenet_v2, slots=(), release=None
    ),
    "mobilenet-v2-tf1/MobileNetV2Model": Original(MOBILENET_V2, mobilenet_v2_averaged, slots=(), release=None),
    "mobilenet-v2-tf1/MobileNetV2ForSemanticSegmentation": Original(
        MOBILENET_V2, deeplab, slots=("Momentum",), release=None, truth=no_last_convolution,
        why="DeepLab has no last convolution, which the reference leaves random and nothing reads",
    ),
}  # fmt: skip


def load_xlnet_shared(model: Any, path: str) -> None:
    """The reference with its list of biases, at which it fails, left out."""
    import tensorflow as tf
    from transformers.models.xlnet import modeling_xlnet

    config = transformers.XLNetConfig(**XLNET)  # untied, so that the list can be made
    names = modeling_xlnet.build_tf_xlnet_to_pytorch_map(model, config, {})
    for name, pointer in names.items():
        if not isinstance(pointer, list):
            array = tf.train.load_variable(path, name)
            pointer.data = torch.from_numpy(array.T if "kernel" in name and "ff" in name else array)
