"""REALM's releases: google-research/language, language/realm and language/orqa: modules within modules."""

from typing import Any

from tools.golden.originals.bert import BERT, bert_model, next_sentence, predictions
from tools.golden.originals.layers import Variables, dense, norm, renamed
from tools.golden.originals.original import Original


def bert_below(config: Any, at: str, *, next_sentences: bool = False) -> Variables:
    """A pretrained BERT with the head for masked words, as a module of TensorFlow Hub under a scope."""
    variables = bert_model(config) | predictions(config, config.hidden_size)
    variables |= next_sentence(config) if next_sentences else {}
    return {f"{at}{name}": shape for name, shape in variables.items()}


def realm_projection(config: Any, at: str) -> Variables:
    """orqa/models/ict_model.py: a dense layer and a norm over BERT."""
    return dense(f"{at}dense", config.hidden_size, config.retriever_proj_size) | norm(
        at[:-1], config.retriever_proj_size
    )


def realm_embedder(config: Any) -> Variables:
    return bert_below(config, "module/module/module/") | realm_projection(config, "module/module/")


def realm_answers(config: Any) -> Variables:
    """orqa/models/orqa_model.py, fine-tuned: an embedder of the retriever, and a reader."""
    span = config.span_hidden_size
    return {
        **bert_below(config, "module/module/module/module/"),
        **realm_projection(config, "module/module/module/"),
        **bert_below(config, "reader/module/"),
        **dense("reader/dense", config.hidden_size, 2 * span),
        **dense("reader/dense_1", span, 1),
        **norm("reader", span, "layer_normalization"),
    }


def realm_encoder(config: Any) -> Variables:
    return bert_below(config, "")


def realm_decoder(table: str) -> Any:
    return renamed({"cls.predictions.decoder.weight": f"{table}bert/embeddings/word_embeddings"})


UNTIED = "the reference leaves the decoder untied and random"
REALM = BERT | {"retriever_proj_size": 10, "span_hidden_size": 14}
ORIGINALS: dict[str, Original] = {
    "realm-tf1/RealmEmbedder": Original(
        REALM, realm_embedder, truth=realm_decoder("module/module/module/"), why=UNTIED
    ),
    "realm-tf1/RealmKnowledgeAugEncoder": Original(REALM, realm_encoder),
    "realm-tf1/RealmReader": Original(REALM, realm_answers, truth=realm_decoder("reader/module/"), why=UNTIED),
}
