"""What differs between the releases of transformers: the same calls work with each."""

from types import SimpleNamespace

import pytest
import transformers

from transcoder.repository import versions


@pytest.mark.parametrize(
    ("release", "name"),
    [("4.40.2", "torch_dtype"), ("4.55.4", "torch_dtype"), ("4.56.0", "dtype"), ("5.0.0rc1", "dtype")],
)
def test_a_dtype_is_passed_under_the_name_that_the_release_reads(
    release: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.__version__", release)
    assert versions.dtype_argument() == name


@pytest.mark.parametrize("name", versions.DTYPE_KEYS)
def test_a_configuration_keeps_the_name_of_its_dtype(name: str) -> None:
    config = SimpleNamespace(**{name: "float32"})
    versions.set_config_dtype(config, "float16")
    assert vars(config) == {name: "float16"}


def test_a_class_without_the_choice_gets_no_argument_about_its_pooler() -> None:
    assert versions.pooler_arguments(transformers.BertModel, pooler=False) == {"add_pooling_layer": False}
    assert versions.pooler_arguments(transformers.BertModel, pooler=True) == {}
    assert versions.pooler_arguments(transformers.GPT2Model, pooler=False) == {}


def test_each_tied_parameter_is_found_with_the_one_that_it_is_tied_to() -> None:
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=4, n_positions=4, vocab_size=7)
    assert versions.find_ties(transformers.GPT2LMHeadModel(config)) == {"lm_head.weight": "transformer.wte.weight"}
    assert versions.find_ties(transformers.GPT2Model(config)) == {}


def test_warnings_and_progress_bars_come_back_after_the_silence() -> None:
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    with versions.quiet():
        assert not transformers.logging.is_progress_bar_enabled()
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == before


def test_a_generation_configuration_that_contradicts_itself_is_refused() -> None:
    config = transformers.GenerationConfig()
    versions.check_generation_config(config)
    config.num_beams, config.num_return_sequences = 1, 2
    with pytest.raises(ValueError, match="num_return_sequences"):
        versions.check_generation_config(config)
