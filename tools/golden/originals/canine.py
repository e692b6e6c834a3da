"""CANINE's release: google-research/language, language/canine/modeling.py."""

from typing import Any

from tools.golden.originals.bert import BERT, bert_layer, next_sentence
from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Original


def canine_model(config: Any) -> Variables:
    hidden, hashes = config.hidden_size, config.num_hash_functions
    at = "char_embeddings"
    variables: Variables = {
        f"{at}/embeddings/HashBucketCodepointEmbedder_{i}": (config.num_hash_buckets, hidden // hashes)
        for i in range(hashes)
    }
    variables |= {
        f"{at}/segment_embeddings": (config.type_vocab_size, hidden),
        f"{at}/char_position_embeddings": (config.max_position_embeddings, hidden),
        **norm(at, hidden),
        **bert_layer(config, "initial_char_encoder/layer_0"),
        "initial_char_encoder/initial_char_encoder/chars_to_molecules/conv/kernel": (
            config.downsampling_rate,
            hidden,
            hidden,
        ),
        "initial_char_encoder/initial_char_encoder/chars_to_molecules/conv/bias": (hidden,),
        **norm("initial_char_encoder/initial_char_encoder/chars_to_molecules", hidden),
        "final_char_encoder/conv/kernel": (config.upsampling_kernel_size, 2 * hidden, hidden),
        "final_char_encoder/conv/bias": (hidden,),
        **norm("final_char_encoder", hidden),
        **bert_layer(config, "final_char_encoder/layer_0"),
        **dense("pooler/dense", hidden, hidden),
    }
    for i in range(config.num_hidden_layers):
        variables |= bert_layer(config, f"bert/layer_{i}")
    return variables


def canine_pretraining(config: Any) -> Variables:
    """The variables of pretraining too. No code of it was released; the names are those that the reference skips."""
    return {
        **canine_model(config),
        **next_sentence(config),
        "char_output_weights": (config.hidden_size, config.vocab_size if hasattr(config, "vocab_size") else 64),
        **dense("autoregressive_decoder/layer_0/intermediate/dense", config.hidden_size, 20),
    }


CANINE = {key: value for key, value in BERT.items() if key != "vocab_size"} | {
    "num_hash_functions": 6,
    "num_hash_buckets": 29,  # as many as positions: PyTorch uses it as the size of both tables
    "downsampling_rate": 3,
    "upsampling_kernel_size": 5,
    "type_vocab_size": 7,
}
ORIGINALS: dict[str, Original] = {
    "canine-tf1/CanineModel": Original(CANINE, canine_pretraining, release=None),
}
