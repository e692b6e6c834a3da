"""TensorFlow's RoBERTa family as a plain NumPy forward pass: the truth when TensorFlow is not installed.

Decides what a model computes, from its *source* variables in TensorFlow's own layout (a dense kernel is
(in, out) and is never transposed). It must not know how variables are found or converted: it imports nothing
of this package, so a wrong mapping can't hide here.

Written from transformers 4.57.6: `modeling_tf_roberta.py`, `modeling_tf_roberta_prelayernorm.py`,
`activations_tf.py`. TensorFlow's XLM-RoBERTa and CamemBERT are RoBERTa's code under other names. Easy to get wrong:

- Positions count from padding index 1, whatever `pad_token_id` says, and skip padding tokens.
- A mask adds -10000 to a score, not -inf: a query row with nothing to attend to weighs all positions equally. In
  such a row, float32 TensorFlow keeps only three decimals of each score, so it can't be compared closely.
- A language model's head always uses gelu, whatever `hidden_act` says; its decoder is the word embeddings.
- PreLayerNorm normalises before each block and once after the last; that last norm is in `last_hidden_state`
  and in what every head sees, but not in the last of `hidden_states`.
- `position_embedding_type` is not read: TensorFlow's code has absolute positions only.

Arithmetic is float64. Variables are read layer by layer; word embeddings are widened by blocks of rows.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Read = Callable[[str], NDArray[Any]]

FAMILIES = ("roberta", "xlm-roberta", "camembert", "roberta-prelayernorm")

_CLASSES = dict(zip(FAMILIES, ("Roberta", "XLMRoberta", "Camembert", "RobertaPreLayerNorm"), strict=True))
_TASKS = (
    "MaskedLM",
    "CausalLM",
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
    "MultipleChoice",
)
_HEADS = ("Model", *(f"For{task}" for task in _TASKS))
_KNOWN = {prefix + head: (family, head) for family, prefix in _CLASSES.items() for head in _HEADS}

_PADDING_INDEX = 1
_MASKED = -10000.0
_WIDEN_ROWS = 8192


def supports(model_type: str, architecture: str) -> bool:
    """Whether `forward` computes this architecture of this `model_type`."""
    return architecture in _KNOWN and _KNOWN[architecture][0] == model_type


def forward(
    read: Read, config: Mapping[str, object], architecture: str, inputs: Mapping[str, NDArray[Any]]
) -> dict[str, Array]:
    """Run one model on one batch.

    `read` returns a source variable by canonical name (`roberta/encoder/layer_._0/output/dense/kernel`) and
    raises KeyError for an absent one; only a bare model's pooler may be absent. `config` is the parsed
    config.json; a missing key has RobertaConfig's default. `inputs` has `input_ids`, and may have
    `attention_mask` (default ones) and `token_type_ids` (default zeros), all (batch, length), or
    (batch, choices, length) for multiple choice. A decoder with cross attention may have
    `encoder_hidden_states` (batch, sources, hidden) and `encoder_attention_mask` (batch, sources).

    Returns `hidden_states.0` (the embeddings) to `hidden_states.N`, each (batch, length, hidden), where
    multiple choice has batch * choices for batch; and `last_hidden_state` and perhaps `pooler_output` for a
    bare model, `start_logits` and `end_logits` for question answering, `logits` for any other head.

    Raises ValueError for an architecture, activation or setting that TensorFlow's code does not have.
    """
    if architecture not in _KNOWN:
        raise ValueError(f"architecture {architecture!r} is not supported; supported are {', '.join(_KNOWN)}")
    family, head = _KNOWN[architecture]
    model = _Model(read, config, pre_norm=family == "roberta-prelayernorm")
    rows = dict(inputs)
    if head == "ForMultipleChoice":
        rows = {name: value.reshape(-1, value.shape[-1]) for name, value in inputs.items()}
    states, last = model.encode(rows)

    outputs = {f"hidden_states.{i}": state for i, state in enumerate(states)}
    match head:
        case "Model":
            outputs["last_hidden_state"] = last
            if model.has_pooler():
                outputs["pooler_output"] = model.pool(last)
        case "ForMaskedLM" | "ForCausalLM":
            outputs["logits"] = model.language_head(last)
        case "ForSequenceClassification":
            first = np.tanh(model.dense("classifier/dense", last[:, 0]))
            outputs["logits"] = model.dense("classifier/out_proj", first)
        case "ForTokenClassification":
            outputs["logits"] = model.dense("classifier", last)
        case "ForMultipleChoice":
            choices = inputs["input_ids"].shape[1]
            outputs["logits"] = model.dense("classifier", model.pool(last)).reshape(-1, choices)
        case "ForQuestionAnswering":
            logits = model.dense("qa_outputs", last)
            if logits.shape[-1] != 2:
                raise ValueError(f"qa_outputs/kernel gives {logits.shape[-1]} logits a token; wanted 2")
            outputs["start_logits"], outputs["end_logits"] = logits[..., 0], logits[..., 1]
        case _:
            raise AssertionError(f"no head is written for {head}")
    return outputs


class _Model:
    """The encoder and the parts that heads share. A method reads the variables that it needs and keeps none."""

    def __init__(self, read: Read, config: Mapping[str, object], *, pre_norm: bool) -> None:
        act = config.get("hidden_act", "gelu")
        if not isinstance(act, str) or act not in _ACTIVATIONS:
            raise ValueError(f"config.json: hidden_act is {act!r}; TensorFlow has {', '.join(_ACTIVATIONS)}")
        self.read = read
        self.act = _ACTIVATIONS[act]
        self.pre_norm = pre_norm
        self.root = "roberta_prelayernorm" if pre_norm else "roberta"
        self.layers = int(_number(config, "num_hidden_layers", 12))
        self.heads = int(_number(config, "num_attention_heads", 12))
        self.eps = _number(config, "layer_norm_eps", 1e-12)
        self.is_decoder = bool(config.get("is_decoder"))
        self.cross_attention = bool(config.get("add_cross_attention"))
        if self.cross_attention and not self.is_decoder:
            raise ValueError("config.json: add_cross_attention is set; TensorFlow wants is_decoder set with it")

    def wide(self, name: str) -> Array:
        return self.read(name).astype(np.float64)

    def dense(self, scope: str, x: Array) -> Array:
        return x @ self.wide(f"{scope}/kernel") + self.wide(f"{scope}/bias")

    def norm(self, scope: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + self.eps)
        scaled: Array = centred / deviation * self.wide(f"{scope}/gamma")
        return scaled + self.wide(f"{scope}/beta")

    def encode(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[list[Array], Array]:
        """Return the hidden states, the embeddings first, and the sequence output, which heads take."""
        ids = inputs["input_ids"]
        keep = inputs.get("attention_mask", np.ones_like(ids))[:, None, None, :]
        if self.is_decoder:
            keep = keep * np.tri(ids.shape[1])
        mask = (1.0 - keep) * _MASKED

        source = inputs.get("encoder_hidden_states") if self.is_decoder else None
        if source is not None and not self.cross_attention:
            raise ValueError("inputs have encoder_hidden_states, but config.json has no add_cross_attention")
        source_mask = np.zeros(())
        if "encoder_attention_mask" in inputs:
            source_mask = (1.0 - inputs["encoder_attention_mask"][:, None, None, :]) * _MASKED

        states = [self.embed(ids, inputs.get("token_type_ids", np.zeros_like(ids)))]
        for i in range(self.layers):
            layer = f"{self.root}/encoder/layer_._{i}"
            x = self.attend(f"{layer}/attention", states[-1], mask)
            if source is not None:
                x = self.attend(f"{layer}/crossattention", x, source_mask, source.astype(np.float64))
            states.append(self.feed_forward(layer, x))
        return states, self.norm(f"{self.root}/LayerNorm", states[-1]) if self.pre_norm else states[-1]

    def embed(self, ids: NDArray[Any], token_types: NDArray[Any]) -> Array:
        scope = f"{self.root}/embeddings"
        real = (ids != _PADDING_INDEX).astype(np.int64)
        positions = np.cumsum(real, axis=1) * real + _PADDING_INDEX
        words = self.read(f"{scope}/word_embeddings/weight")[ids].astype(np.float64)
        places = self.read(f"{scope}/position_embeddings/embeddings")[positions].astype(np.float64)
        types = self.read(f"{scope}/token_type_embeddings/embeddings")[token_types].astype(np.float64)
        return self.norm(f"{scope}/LayerNorm", words + places + types)

    def attend(self, scope: str, x: Array, mask: NDArray[Any], source: Array | None = None) -> Array:
        """Self attention over `x`, or cross attention from `x` to `source`, with its residual and norm."""
        asking = self.norm(f"{scope}/LayerNorm", x) if self.pre_norm else x
        asked = asking if source is None else source
        query = self.split_heads(self.dense(f"{scope}/self/query", asking))
        key = self.split_heads(self.dense(f"{scope}/self/key", asked))
        value = self.split_heads(self.dense(f"{scope}/self/value", asked))
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1]) + mask
        mixed = (_softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)
        out = self.dense(f"{scope}/output/dense", mixed) + x
        return out if self.pre_norm else self.norm(f"{scope}/output/LayerNorm", out)

    def split_heads(self, x: Array) -> Array:
        """(batch, length, hidden) to (batch, heads, length, hidden / heads)."""
        split: Array = x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)
        return split

    def feed_forward(self, scope: str, x: Array) -> Array:
        inner = self.norm(f"{scope}/intermediate/LayerNorm", x) if self.pre_norm else x
        inner = self.act(self.dense(f"{scope}/intermediate/dense", inner))
        out = self.dense(f"{scope}/output/dense", inner) + x
        return out if self.pre_norm else self.norm(f"{scope}/output/LayerNorm", out)

    def has_pooler(self) -> bool:
        try:
            self.read(f"{self.root}/pooler/dense/kernel")
        except KeyError:
            return False
        return True

    def pool(self, x: Array) -> Array:
        return np.tanh(self.dense(f"{self.root}/pooler/dense", x[:, 0]))

    def language_head(self, x: Array) -> Array:
        x = self.norm("lm_head/layer_norm", _gelu(self.dense("lm_head/dense", x)))
        words = self.read(f"{self.root}/embeddings/word_embeddings/weight")
        blocks = (words[i : i + _WIDEN_ROWS].astype(np.float64) for i in range(0, len(words), _WIDEN_ROWS))
        return np.concatenate([x @ block.T for block in blocks], axis=-1) + self.wide("lm_head/bias")


def _number(config: Mapping[str, object], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"config.json: {key} is {value!r}; it must be a number")
    return value


def _softmax(x: Array) -> Array:
    powers: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def erf(x: Array) -> Array:
    """The error function, within 2e-15 of `math.erf` everywhere; NumPy has none.

    Below 2 the series 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, whose terms all have one sign; from 2
    on the continued fraction of erfc (Abramowitz and Stegun 7.1.6 and 7.1.14).
    """
    size, result = np.abs(x), np.empty_like(x)
    small = size < 2.0
    near, far = size[small], size[~small]
    total = term = near
    for n in range(1, 50):
        term = term * near * near * (2 / (2 * n + 1))
        total = total + term
    result[small] = total * np.exp(-near * near) * (2 / math.sqrt(math.pi))
    fraction = far
    for n in range(60, 0, -1):
        fraction = far + n / 2 / fraction
    result[~small] = 1.0 - np.exp(-far * far) / (fraction * math.sqrt(math.pi))
    return np.copysign(result, x)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


# ACT2FN of activations_tf.py without glu, which halves its input and so fits no dense layer after it.
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_10": lambda x: np.clip(_gelu(x), -10.0, 10.0),
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
}
