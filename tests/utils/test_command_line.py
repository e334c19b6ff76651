from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from utils.command_line import added, flags_first, quote, quote_paths, resume_words, swept_groups, value_of

TRICKY = [
    "photo(1).jpg",
    "a,b.jpg",
    "it's.jpg",
    "straße.jpg",
    "~/a.jpg",
    "a=b.jpg",
    "[x].jpg",
    "a b.jpg",
    "C:\\x\\",
    "${x}",
]


def parsed(word: str) -> str:
    """The value that Hydra and OmegaConf read out of an override."""
    override = OverridesParser.create().parse_override(word)
    return OmegaConf.create({"key": override.value()}).key


@pytest.mark.parametrize("path", TRICKY)
def test_a_path_arrives_as_it_was_typed(path: str) -> None:
    (word,) = quote_paths([f"input={path}"])
    assert parsed(word) == path


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_survives_quoting(text: str) -> None:
    if text not in ("???",):  # OmegaConf's own word for a missing value
        assert parsed(f"input={quote(text)}") == text


def test_only_path_keys_are_quoted() -> None:
    words = ["seed=1,2", "resume=null", "data.root=a,b", "--multirun", "name=x"]
    assert quote_paths(words) == ["seed=1,2", "resume=null", "data.root='a,b'", "--multirun", "name=x"]


def test_flags_come_first_and_the_rest_keeps_its_order() -> None:
    assert flags_first(["b=1", "-m", "a=2", "--cfg", "job"]) == ["-m", "--cfg", "job", "b=1", "a=2"]


def test_the_last_value_counts() -> None:
    assert value_of(["resume=a", "resume=b"], "resume") == "b"
    assert value_of(["resume=null"], "resume") is None
    assert value_of(["seed=1"], "resume") is None


def test_resume_composes_the_runs_own_config() -> None:
    words = resume_words(["trainer.epochs=3"], Path("experiments/it's"))
    assert words[:2] == ["--config-name", "resume"]
    assert parsed(words[-1]) == "experiments/it's"


def test_keys_that_only_some_options_of_a_sweep_have_may_be_set() -> None:
    words = [
        "-m",
        "model=espnet,unet",
        "model.encoder_weights=null",
        "data.limit=3",
        "loss=ce_iou",
        "loss.weights=null",
    ]
    assert swept_groups(words) == {"model"}
    assert added(words, {"model"})[2:4] == ["++model.encoder_weights=null", "data.limit=3"]
    assert {"model", "data", "loss"} < swept_groups(["experiment=a,b", "seed=1,2"])
    assert "model" in swept_groups(["experiment='glob(*)'"])
    assert swept_groups(["optimizer.lr=0.1,0.2", "model=unet"]) == set()
