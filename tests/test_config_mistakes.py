"""Mistakes on the command line and in YAML files, through the real command: a line or two on stderr, exit code 2,
no run folder, no traceback, and torch not imported."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_command, runs_in

MISTAKES = [
    ("trainer.epoch=3", ["trainer.epoch", "unknown key", "did you mean 'trainer.epochs'"]),
    ("+trainer.epoch=3", ["trainer.epoch", "unknown key", "on the command line", "did you mean 'trainer.epochs'"]),
    ("modle=enet", ["modle", "did you mean 'model'"]),
    ("model=enett", ["model=enett", "did you mean 'enet'"]),
    ("data=camvd", ["data=camvd", "did you mean 'camvid'", "available: camvid, cityscapes"]),
    ("model=1", ["model=1: pass model=<option>"]),
    ("model.dropuot=1", ["model.dropuot", "did you mean 'model.dropout'"]),
    ("+model.dropuot=1", ["model.dropuot", "models.enet.ENet takes no such argument", "did you mean 'model.dropout'"]),
    ("model.dropout=abc", ["model.dropout=abc", "on the command line", "a number"]),
    ("model._target_=models.enet.ENnet", ["models.enet.ENnet", "did you mean 'ENet'"]),
    ("trainer.epochs=0", ["trainer.epochs=0", "at least 1"]),
    ("trainer.epochs=3.5", ["trainer.epochs=3.5", "an integer"]),
    ("trainer.amp=of", ["trainer.amp=of", "'off'"]),
    ("trainer.amp=false", ["trainer.amp=false (on the command line): must be 'auto', 'off', 'fp16' or 'bf16'\n"]),
    ("trainer.channels_last=2", ["trainer.channels_last=2", "true or false"]),
    ("trainer.grad_clip=-1", ["trainer.grad_clip=-1", "greater than 0"]),
    ("data.batch_size=0", ["data.batch_size=0", "at least 1"]),
    ("data.image_size=[0,0]", ["data.image_size.0=0", "at least 32"]),
    ("data.image_size=[64]", ["data.image_size=[64]", "at least 2 values"]),
    ("data.num_workers=many", ["data.num_workers=many", "'auto'", "an integer"]),
    ("data.root=x", ["data.root: unknown key; only data=camvid, cityscapes, ", " and voc have it"]),
    ("optimizer.amsgrad=true", ["optimizer.amsgrad: not in the config, but AdamW takes it; pass +optimizer.amsgrad="]),
    ("loss.gamma=1", ["loss.gamma: unknown key; only loss=focal and tversky have it"]),
    (
        "data=/photos/own",
        ["data=/photos/own: pass data=<option>; your own files are data=folder data.root=/photos/own"],
    ),
    ("data=photos/own", ["there is no such option; your own files are data=folder data.root=photos/own"]),
    ("optimizer.lr=abc", ["optimizer.lr=abc", "a number"]),
    ("+optimizer.lrr=1", ["optimizer.lrr", "torch.optim.AdamW takes no such argument", "did you mean 'optimizer.lr'"]),
    ("loss.class_weights=[1,a]", ["loss.class_weights", "a number"]),
    ("loss.class_weights=ent", ["loss.class_weights=ent", ": must be a list or 'enet' or 'median_frequency'"]),
    ("loss.classes=some", ["loss.classes=some", "'present' or 'all'"]),
    ("augmentation.transforms.0.p=x", ["augmentation.transforms[0].p=x", "a number"]),
    ("+augmentation.transforms.0.pp=1", ["albumentations.RandomScale takes no such argument"]),
    ("~seed", ["seed", "missing"]),
    ("+foo=1", ["foo", "unknown key"]),
    ("seed=-1", ["seed=-1", "at least 0"]),
    ("seed=5000000000", ["seed=5000000000", "less than 4,294,967,296"]),
    ("seed=1,2", ["seed=1,2", "--multirun"]),
    ("name=a/b", ["name=a/b", "without /"]),
    ("name= a", ["name= a", "must not begin or end with a space"]),
    ("oops", ["oops", "key=value"]),
    ("resume=nowhere", ["resume=nowhere: there is no such run"]),
]


def assert_refused(words: list[str], fragments: list[str], cwd: Path, script: str = "train_segmentation.py") -> None:
    done = run_command(script, *words, cwd=cwd, light=True)
    message = done.stderr
    assert done.returncode == 2, message
    assert message.startswith("error: ") and len(message.splitlines()) <= 2, message
    for fragment in fragments:
        assert fragment in message, message
    assert "imported: torch" not in message
    assert runs_in(cwd) == []


@pytest.mark.parametrize(("word", "fragments"), MISTAKES)
def test_on_the_command_line(tmp_path: Path, word: str, fragments: list[str]) -> None:
    assert_refused([word], fragments, tmp_path)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("model=efficientdet_d0_seg model.fusion=mean", ["model.fusion=mean", "'fast_normalised' or 'sum'"]),
        ("model=efficientdet_d0_seg model.head=p3", ["model.head=p3", "'topdown' or 'p2'"]),
        ("model=deeplabv3plus model.output_stride=4", ["model.output_stride=4", "8 or 16"]),
        ("model=espnet model.freeze_encoder=yes", ["model.freeze_encoder=yes", "true or false"]),
        ("model.wieghts=x", ["model.wieghts", "unknown key", "'model.weights'"]),
        ("model.freeze_encoder=auto", ["model.freeze_encoder=auto", "on the command line", "true or false"]),
    ],
)
def test_options_of_models(tmp_path: Path, words: str, fragments: list[str]) -> None:
    assert_refused(words.split(), fragments, tmp_path)


def test_resume_with_multirun(tmp_path: Path) -> None:
    assert_refused(["--multirun", f"resume={tmp_path}"], [f"resume={tmp_path}", "--multirun"], tmp_path)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program whose YAML files tests may change, and change back."""
    copy = tmp_path_factory.mktemp("program")
    for package in (path.parent for path in ROOT.glob("*/__init__.py")):
        shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", copy / "conf")
    shutil.copy(ROOT / "train_segmentation.py", copy)
    return copy


@pytest.mark.parametrize(
    ("file", "old", "new", "fragments"),
    [
        (
            "trainer/default.yaml",
            "epochs: 24",
            "epoch: 24",
            ["trainer.epoch", "conf/trainer/default.yaml", "did you mean"],
        ),
        (
            "trainer/default.yaml",
            "amp: auto",
            "amp: off",
            ["trainer.amp=false", "conf/trainer/default.yaml", "quote it"],
        ),
        (
            "model/enet.yaml",
            "dropout: 0.1 ",
            "dropuot: 0.1 ",
            ["model.dropuot", "conf/model/enet.yaml", "'model.dropout'"],
        ),
        ("model/enet.yaml", "dropout: 0.1 ", "dropout: often ", ["model.dropout=often", "conf/model/enet.yaml"]),
        (
            "data/_loader.yaml",
            "batch_size: 4",
            "batchsize: 4",
            ["data.batchsize", "conf/data/_loader.yaml", "'data.batch_size'"],
        ),
        ("data/_loader.yaml", "batch_size: 4", "batch_size: x", ["data.batch_size=x", "conf/data/_loader.yaml"]),
        ("optimizer/adamw.yaml", "lr:", "learning_rate:", ["optimizer.learning_rate", "conf/optimizer/adamw.yaml"]),
        ("train.yaml", "seed: 0 ", "sead: 0 ", ["seed", "conf/train.yaml"]),
        ("train.yaml", "model: enet", "model: enetz", ["enetz", "did you mean 'enet'"]),
        ("loss/ce_iou.yaml", "weights: {", "weights: {{", ["YAML", "ce_iou.yaml"]),
    ],
)
def test_in_yaml_files(program: Path, file: str, old: str, new: str, fragments: list[str]) -> None:
    path = program / "conf" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        done = run_command(str(program / "train_segmentation.py"), cwd=program, copied=True)
    finally:
        path.write_text(text)
    message = done.stderr
    assert done.returncode == 2 and len(message.splitlines()) <= 2, message
    for fragment in fragments:
        assert fragment in message, message
    assert "imported: torch" not in message
    assert runs_in(program) == []


def test_full_error_shows_the_traceback(tmp_path: Path) -> None:
    done = run_command("train_segmentation.py", "trainer.epoch=3", cwd=tmp_path, light=True, HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("train_segmentation.py", ["--help"]),
        ("train_segmentation.py", ["--cfg", "job", "model=enet", "data=camvid"]),
        ("infer.py", ["--cfg", "job"]),
        ("infer.py", ["--help"]),
    ],
)
def test_looking_at_the_config_is_quick_and_leaves_nothing(tmp_path: Path, script: str, words: list[str]) -> None:
    done = run_command(script, *words, cwd=tmp_path, light=True)
    assert done.returncode == 0
    assert "imported: torch" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_so_it_is_in_a_new_process(tmp_path: Path) -> None:
    done = run_command("train_segmentation.py", "--cfg", "job", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "| torch\n" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["input=.", "labels=x.json"], ["model and weights missing: weights without a checkpoint need"]),
        (["checkpoint=.."], ["input is missing"]),
        (["checkpoint=..", "input=nowhere.jpg"], ["input=nowhere.jpg", "no such file"]),
        (["checkpoint=..", "input=.", "formt=mask"], ["formt", "did you mean 'format'"]),
        (["checkpoint=..", "input=.", "format=[mask,colour]"], ["format", "'side_by_side' or 'probabilities'"]),
        (["checkpoint=..", "input=."], ["no images"]),
    ],
)
def test_infer(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(words, fragments, tmp_path, "infer.py")


def test_a_mask_as_jpeg_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert_refused(["checkpoint=..", "input=a.jpg", "output=b.jpg"], ["output=b.jpg", ".png"], tmp_path, "infer.py")
