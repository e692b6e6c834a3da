"""What the Hugging Face Hub expects of a model repository: licenses, tasks, sizes. Data, with the pages it is from."""

from __future__ import annotations

import re
from collections.abc import Mapping

# https://huggingface.co/docs/hub/repositories-licenses
LICENSES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma
    unknown other
    """.split()  # noqa: SIM905  (a table is read more easily so)
)
# https://huggingface.co/docs/hub/storage-limits: what one file should be at most, and may be
ADVISED_FILE = 200_000_000_000
LARGEST_FILE = 500_000_000_000
# https://huggingface.co/tasks
TASKS = frozenset(
    """
    any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition depth-estimation
    document-question-answering feature-extraction fill-mask graph-ml image-classification image-feature-extraction
    image-segmentation image-text-to-image image-text-to-text image-text-to-video image-to-3d image-to-image
    image-to-text image-to-video keypoint-detection mask-generation multiple-choice object-detection other
    question-answering reinforcement-learning robotics sentence-similarity summarization table-question-answering
    tabular-classification tabular-regression tabular-to-text table-to-text text-classification text-generation
    text-ranking text-retrieval text-to-3d text-to-audio text-to-image text-to-speech text-to-video
    text2text-generation time-series-forecasting token-classification translation unconditional-image-generation
    video-classification video-text-to-text video-to-video visual-document-retrieval visual-question-answering
    voice-activity-detection zero-shot-classification zero-shot-image-classification zero-shot-object-detection
    """.split()  # noqa: SIM905  (a table is read more easily so)
)
# A class's last words and the task that it is for; none where a class serves several.
_TASK_OF = (
    ("ForMaskedLM", "fill-mask"), ("LMHeadModel", "text-generation"), ("ForCausalLM", "text-generation"),
    ("ForSequenceClassification", "text-classification"), ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"), ("ForMultipleChoice", "multiple-choice"),
    ("ForImageClassification", "image-classification"), ("ForSemanticSegmentation", "image-segmentation"),
    ("ForObjectDetection", "object-detection"), ("ForCTC", "automatic-speech-recognition"),
    ("ForAudioClassification", "audio-classification"),
)  # fmt: skip
_BARE = re.compile(r"^[A-Z][A-Za-z0-9]*Model$")
REPOSITORY = re.compile(r"^(?!.*(--|\.\.))[\w-][\w.-]{0,95}(/[\w-][\w.-]{0,95})?(?<![.-])$", re.ASCII)


def task_of(architecture: str, config: Mapping[str, object]) -> str | None:
    """The pipeline tag of a class, where it has exactly one."""
    for ending, task in _TASK_OF:
        if architecture.endswith(ending):
            return task
    if _BARE.match(architecture) and "vocab_size" in config and not config.get("is_encoder_decoder"):
        return "feature-extraction"
    return None
