import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from cli.command_line import (
    PLUGINS,
    check_plugins,
    flags_first,
    hydra_words,
    is_sweep,
    repeated_keys,
    swept_groups,
    value_of,
    with_new_keys,
)
from cli.flags import check_flags, check_plain_words
from config.current_run import output_folder, overrides
from config.nodes import plain
from config.quoting import as_typed, quote, quote_texts
from tests.in_process import assert_refused, run_here, succeeded
from utils.errors import UserError
from utils.run_folder import RunFolder

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
    (word,) = quote_texts([f"input={path}"])
    assert parsed(word) == path
    assert as_typed(word) == f"input={path}"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_survives_quoting(text: str) -> None:
    if text not in ("???",):  # OmegaConf's own word for a missing value
        assert parsed(f"input={quote(text)}") == text
        assert as_typed(f"input={quote(text)}") == f"input={text}"


@given(st.text(st.sampled_from("a\\'\"${},= "), min_size=1))
def test_any_text_survives_the_words_of_a_jobs(text: str) -> None:
    """A sweep writes the words of its jobs anew."""
    override = OverridesParser.create().parse_override(f"input={quote(text)}")
    assert parsed(f"input={override.get_value_element_as_str()}") == text


def test_lists_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items are literal; what exists under the whole text is that file."""
    monkeypatch.chdir(tmp_path)
    parser = OverridesParser.create()

    def value(word: str) -> object:
        return parser.parse_override(quote_texts([word])[0]).value()

    assert value("checkpoint=[a=1/b, it's.pt,'c d']") == ["a=1/b", "it's.pt", "c d"]
    assert value("runs=[]") == [] and value("checkpoint=[a,]") == ["a"]
    assert value("runs=[x]/*") == "[x]/*" and value("input=[x,y]") == "[x,y]"
    (tmp_path / "[x,y]").mkdir()
    assert value("checkpoint=[x,y]") == "[x,y]"


def test_only_paths_and_free_texts_are_quoted() -> None:
    words = ["seed=1,2", "resume=null", "data.root=a,b", "--multirun", "name=x", "notes=null", "data.train_split=a b"]
    quoted = ["seed=1,2", "resume=null", "data.root='a,b'", "--multirun", "name='x'", "notes=null", words[-1]]
    assert quote_texts(words) == quoted
    assert quote_texts(["distill.teacher=a (1)"]) == ["distill.teacher='a (1)'"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((f"{key}={text}", text) for key in ("data.images", "data.val_split", "masks") for text in TRICKY[:-1]),
        *((f"root={text}", text) for text in ("größe [1], (2)", "null.d", "1e3", "true")),
        *((f"{key}=größe (1)", "größe (1)") for key in ("logger.project", "hydra.sweeper.study_name", "models")),
        *((f"{key}=val/iou/猫", "val/iou/猫") for key in ("columns", "sort", "trainer.monitor")),
        ("data.mask_suffix=_маска", "_маска"),
        ("mask_suffix=null", None),
        ("split=1", "1"),
        ("data.group_by='^[^_]+'", "^[^_]+"),
        ("data.group_by=^[^_]{1,2}", "^[^_]{1,2}"),
        ("splits=[train,训练]", ["train", "训练"]),
        ("columns=[val/iou/it's, 'a,b']", ["val/iou/it's", "a,b"]),
        ("models=[enet,runs/it's, 'runs/a,b']", ["enet", "runs/it's", "runs/a,b"]),
        ("augmentation.classes=[]", []),
        ("logger.tags=[lr 1e-3 (warm)]", ["lr 1e-3 (warm)"]),
    ],
)
def test_texts_arrive_as_they_were_typed(word: str, value: object) -> None:
    assert OverridesParser.create().parse_override(quote_texts([word])[0]).value() == value


def test_runs_with_commas_in_their_names(tmp_path: Path) -> None:
    """Typed in quotes in a list, or found by a name that two runs share."""
    names = ("dice, warm", "it's a,b", "plain")
    folders = [f"experiments/2026-01-01_00-00-0{i}-000000_{name}" for i, name in enumerate([*names, names[0]])]
    for folder in folders:
        (tmp_path / folder / "checkpoints").mkdir(parents=True)
    seen: list[Any] = []
    for runs in (names[0], f"['{folders[0]}', \"it's a,b\",plain]"):
        succeeded(run_here(lambda cfg: seen.append(plain(cfg)["runs"]), "compare", f"runs={runs}", cwd=tmp_path))
    assert seen == [[folders[0], folders[3]], folders[:3]]


def test_runs_with_characters_of_patterns_in_their_names(tmp_path: Path) -> None:
    """They are found by name; what no run is called is a pattern, for `runs` alone."""
    name, other = "lr 1e-3 [warm]", "why*"
    folders = [f"experiments/2026-01-01_00-00-0{i}-000000_{text}" for i, text in enumerate((name, other, "whynot"))]
    for folder in folders:
        (tmp_path / folder / "checkpoints").mkdir(parents=True)
    seen: list[Any] = []
    for words in ([f"runs={other}", f"baseline={name}"], ["runs=experiments/*why*"]):
        run_here(lambda cfg: seen.append((cfg.runs, cfg.baseline)), "compare", *words, cwd=tmp_path)
    assert seen == [(folders[1], folders[0]), ("experiments/*why*", None)]
    assert_refused(run_here(lambda cfg: None, "train", "resume=wh[xy]", cwd=tmp_path), "there is no such run")


def test_texts_in_a_sweep(tmp_path: Path) -> None:
    """Several values, with commas between them, as of other keys."""
    words = ["seed=1,2", "data.masks=маска,truth (1)", "data.train_split=choice(train,all)", "data.mask_suffix=null,_м"]
    quoted = [
        "seed=1,2",
        "data.masks='маска','truth (1)'",
        "data.train_split=choice(train,all)",
        "data.mask_suffix=null,'_м'",
    ]
    assert quote_texts(words, sweep=True) == quoted
    seen: list[str] = []
    done = run_here(lambda cfg: seen.append(cfg.data.masks), "train", "-m", "data=folder", words[1], cwd=tmp_path)
    assert seen == ["маска", "truth (1)"], done.stderr


FREE = [
    *("李明", "it's", "lr 1e-3 (warm)", "größe", "run#1", "1e-3", "a=b, c", "[x]", "{a: 1}", "é\tx", "007"),
    *("'quoted'", "true", "2024-01-01", "a\\'b\\", " spaced ", "choice(a,b)"),
]


@pytest.mark.parametrize("text", FREE)
def test_a_free_text_arrives_as_it_was_typed(tmp_path: Path, text: str) -> None:
    seen: list[dict[str, Any]] = []
    name = text.replace("\\", "").replace("\t", "").strip()  # which a folder may have

    def task(cfg: DictConfig) -> None:
        seen.append(plain(cfg))
        assert overrides() == [f"notes={text}", f"name={name}"]
        assert output_folder().name.endswith(f"_{name}")
        RunFolder(output_folder()).write_config(plain(cfg))

    succeeded(run_here(task, "train", f"notes={text}", f"name={name}", cwd=tmp_path))
    assert (seen[0]["notes"], seen[0]["name"]) == (text, name)
    (run,) = (tmp_path / "experiments").iterdir()
    succeeded(run_here(lambda cfg: seen.append(plain(cfg)), "train", f"resume={run}", cwd=tmp_path))
    assert (seen[1]["notes"], seen[1]["name"]) == (text, name)


def test_free_texts_in_a_sweep(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    words = ["-m", "seed=0,1", "name=größe, warm", "notes=it's ${seed}, x"]
    run_here(lambda cfg: seen.append((cfg.name, cfg.notes)), "train", *words, cwd=tmp_path)
    assert seen == [("größe, warm", "it's 0, x"), ("größe, warm", "it's 1, x")]
    seen.clear()
    run_here(lambda cfg: seen.append((cfg.name, cfg.notes)), "train", "-m", "name=choice(a,b)", "notes=", cwd=tmp_path)
    assert seen == [("a", ""), ("b", "")]


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        *(("", "1 to 100 characters"), ("a" * 101, "1 to 100 characters"), ("李" * 90, "200 bytes")),
        *(("a/b", "without /"), ("..", "begin"), ("\\${x}", "${")),
        *(("a\x1b[1m", "control"), ("a\nb", "control"), ("\udcff", "UTF-8")),
    ],
)
def test_a_name_that_no_folder_can_have(tmp_path: Path, name: str, fragment: str) -> None:
    done = run_here(lambda cfg: None, "train", f"name={name}", cwd=tmp_path)
    assert_refused(done, "name=", fragment)
    assert not (tmp_path / "experiments").exists()


def test_notes_that_are_not_utf_8(tmp_path: Path) -> None:
    assert_refused(run_here(lambda cfg: None, "train", "notes=\udcff", cwd=tmp_path), "notes=", "UTF-8")


@pytest.mark.parametrize(
    ("words", "expected"),
    [("-m", True), ("--m", True), ("--multi seed=1", True), ("sweep=a", True), ("-- seed=1", False), ("-cjob", False)],
)
def test_what_starts_a_sweep(words: str, expected: bool) -> None:
    """As argparse reads abbreviations."""
    assert is_sweep(words.split()) == expected


def test_flags_come_first_and_the_rest_keeps_its_order() -> None:
    assert flags_first(["b=1", "-m", "a=2", "--cfg", "job"]) == ["-m", "--cfg", "job", "b=1", "a=2"]


def test_the_last_value_counts() -> None:
    assert value_of(["resume=a", "resume=b"], "resume") == "b"
    assert value_of(["resume=null"], "resume") is None
    assert value_of(["seed=1"], "resume") is None


def test_a_key_that_is_set_twice_is_reported(tmp_path: Path) -> None:
    """Hydra takes the last value, and scripts that append words rely on it."""
    seen: list[Any] = []
    words = ["seed=1", "optimizer.lr=0.1", "seed=2", "++optimizer.lr=0.2", "trainer.epochs=3", "trainer.epochs=3"]
    done = run_here(lambda cfg: seen.append((cfg.seed, cfg.optimizer.lr)), "train", *words, cwd=tmp_path)
    assert seen == [(2, 0.2)]
    assert done.stderr.splitlines()[:2] == [
        "warning: seed is set 2 times, and the last counts: seed=2",
        "warning: optimizer.lr is set 2 times, and the last counts: ++optimizer.lr=0.2",
    ]
    assert "trainer.epochs is" not in done.stderr
    options = run_here(lambda cfg: seen.append(cfg.model), "train", "model=enet", "model=unet", cwd=tmp_path)
    assert seen[-1]._target_ == "models.unet.UNet" and "the last counts: model=unet" in options.stderr
    assert repeated_keys(["-m", "runs=a", "runs=b"]) == [
        "runs is set 2 times, and the last counts: runs=b; for several pass runs=[a,b]"
    ]


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        ("train", "--epochs 3", "--epochs 3: keys are set without dashes; pass trainer.epochs=3"),
        ("train", "--lr=0.1", "--lr=0.1: keys are set without dashes; pass optimizer.lr=0.1"),
        ("train", "seed=1 -e 3", "-e 3: keys are set without dashes; pass trainer.epochs=3"),
        ("train", "-m --batch-size seed=1", "--batch-size: keys are set without dashes; pass data.batch_size=<value>"),
        ("train", "--data-root /x", "--data-root /x: keys are set without dashes; pass data.root=/x"),
        ("train", "--optimizer.lr=0.1", "--optimizer.lr=0.1: keys are set without dashes; pass optimizer.lr=0.1"),
        ("train", "--data.batch-size 4", "--data.batch-size 4: keys are set without dashes; pass data.batch_size=4"),
        ("evaluate", "--data.root /x", "--data.root /x: keys are set without dashes; pass data.root=/x"),
        ("train", "-pretrained", "-pretrained: keys are set without dashes; pass model.encoder_weights=imagenet"),
        ("train", "--pretrained", "--pretrained: keys are set without dashes; pass model.encoder_weights=imagenet"),
        ("benchmark", "--model unet", "--model unet: keys are set without dashes; pass model=unet"),
        ("train", "-mcjob", "-mcjob: there is no such flag; write each by itself: -m -cjob"),
        ("compare", "--foo", "--foo: there is no such flag; keys are set as key=value, and --help lists them"),
    ],
)
def test_flags_of_other_programs(tmp_path: Path, config: str, words: str, message: str) -> None:
    assert_refused(run_here(lambda cfg: None, config, *words.split(), cwd=tmp_path), f"error: {message}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", ["--cfg job", "--conf conf", "--mul seed=1", "-m", "-c job --resolve", "--help", "-cjob", "-pdata"]
)
def test_flags_of_hydra(words: str) -> None:
    check_flags(words.split(), "train")
    check_plain_words(words.split(), "train")


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        ("infer", ["street.jpg"], "street.jpg: expected key=value; pass input=street.jpg"),
        ("infer", ["my photo.jpg"], "my photo.jpg: expected key=value; pass 'input=my photo.jpg'"),
        ("infer", ["format=overlay", "a.jpg", "b.jpg"], "a.jpg: expected key=value; pass input=a.jpg"),
        ("infer", ["-cjob", "a.jpg"], "a.jpg: expected key=value; pass input=a.jpg"),
        ("classify", ["dog.jpg"], "dog.jpg: expected key=value; pass input=dog.jpg"),
        ("evaluate", ["own", "split=test"], "own: expected key=value; pass checkpoint=own"),
        ("evaluate", ["model.pth"], "model.pth: expected key=value; pass checkpoint=model.pth"),
        ("scan_labels", ["own"], "own: expected key=value; pass root=own"),
        ("share", ["latest"], "latest: expected key=value; pass run=latest"),
        ("compare", ["runs", "own"], "runs own: expected key=value; pass runs=own"),
        ("benchmark", ["unet"], "unet: expected key=value; pass model=unet"),
        ("check_data", ["camvid"], "camvid: expected key=value; pass data=camvid"),
        ("train", ["optimizer.lr", "0.1"], "optimizer.lr 0.1: expected key=value; pass optimizer.lr=0.1"),
        ("train", ["epochs", "3"], "epochs 3: expected key=value; pass trainer.epochs=3"),
        ("train", ["seed", "model=enet"], "seed: expected key=value; pass seed=<value>"),
        ("train", ["notes=a", "b"], "b: expected key=value; quote a value with spaces: 'notes=a b'"),
        ("infer", ["input=a", "b.jpg"], "b.jpg: expected key=value; quote a value with spaces: 'input=a b.jpg'"),
        ("train", ["camvid"], "camvid: expected key=value"),
    ],
)
def test_words_without_a_key(tmp_path: Path, config: str, words: list[str], message: str) -> None:
    (tmp_path / "model.pth").touch()
    assert_refused(run_here(lambda cfg: None, config, *words, cwd=tmp_path), f"error: {message}\n")


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("name=rates", "rates_sweep"),
        pytest.param("name=s ${seed}", "sweep", marks=pytest.mark.slow),
        pytest.param("seed=1", "sweep", marks=pytest.mark.slow),
    ],
)
def test_a_sweep_is_named(tmp_path: Path, word: str, end: str) -> None:
    run_here(lambda cfg: None, "train", "-m", word, "optimizer.lr=0.1,0.2", cwd=tmp_path)
    (folder,) = [path for path in (tmp_path / "experiments").iterdir() if not path.is_symlink()]
    assert re.fullmatch(rf"[-\d_]+_{end}", folder.name) and (folder / "1").is_dir()


def test_resume_composes_the_runs_own_config(tmp_path: Path) -> None:
    run = tmp_path / "it's"
    run.mkdir()
    RunFolder(run).write_config({"seed": 3})
    words = hydra_words([f"resume={run}", "trainer.epochs=3"], "train")
    assert words[:2] == ["--config-name", "resume"] and "trainer.epochs=3" in words
    assert words[-1].startswith("hydra.run.dir=") and parsed(words[-1]) == str(run)


def test_keys_that_only_some_options_of_a_sweep_have_may_be_set() -> None:
    words = ["-m", "model=espnet,unet", "model.encoder_weights=null", "data.limit=3", "loss.weights=null"]
    assert swept_groups(words) == {"model"}
    assert with_new_keys(words, {"model"})[2:4] == ["++model.encoder_weights=null", "data.limit=3"]
    assert {"model", "data", "loss"} < swept_groups(["experiment=a,b", "seed=1,2"])
    assert "model" in swept_groups(["experiment='glob(*)'"])
    assert swept_groups(["optimizer.lr=0.1,0.2", "model=unet"]) == set()


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("seed=1,1", "1"),
        ("seed=0,1,2,1", "1"),
        ("optimizer.lr=0.1,1e-1", "0.1"),
        ("loss=ce_dice,ce_iou,'ce_dice'", "ce_dice"),
        ("seed=choice(3,3)", "3"),
        ("data.image_size=[64,64],[64,64]", "[64,64]"),
        ("+model.dropout=null,null", "null"),
    ],
)
def test_a_value_that_a_sweep_has_twice(word: str, value: str, tmp_path: Path) -> None:
    done = run_here(lambda cfg: None, "train", "--multirun", word, cwd=tmp_path)
    assert_refused(done, f"{word}: {value} occurs twice, and would be trained twice; leave one out\n")
    assert not (tmp_path / "experiments").exists()


def test_squares() -> None:
    """A single number for height and width; several only in a sweep."""
    for value, squares in (
        ("64", "[64,64]"),
        ("64,96", "[64,64],[96,96]"),
        ("64, 96", "[64,64], [96,96]"),
        ("choice(64,96)", "choice([64,64],[96,96])"),
        ("choice( 64, 96 )", "choice( [64,64], [96,96] )"),
    ):
        assert f"data.image_size={squares}" in hydra_words(["-m", f"data.image_size={value}"], "train")
    assert hydra_words(["data.image_size=choice(64,96)"], "train") == ["data.image_size=choice(64,96)"]
    assert hydra_words(["data.image_size=64"], "train") == ["data.image_size=[64,64]"]


def test_values_that_a_sweep_has_once() -> None:
    for word in ("seed=1,2", "trainer.amp=1,true", "data.image_size=[64,64]", "seed=range(1,3)", "name=a,a"):
        hydra_words(["-m", word], "train")
    hydra_words(["data.crop_size=[64,64]"], "train")


@pytest.mark.parametrize("word", ["hydra/launcher=joblib", "hydra/sweeper=optuna"])
def test_plugins_that_are_not_installed(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PLUGINS[word], None)
    with pytest.raises(UserError, match=rf"{word}: its package is not installed; pip install -r requirements-sweep"):
        check_plugins([word])
