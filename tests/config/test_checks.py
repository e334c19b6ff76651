from typing import Any

from config.checks import differences
from config.validation import Origin


def test_differences_see_changes_additions_and_removals() -> None:
    before = {"seed": 0, "loss": {"class_weights": None, "weights": {"a": 1.0}}, "list": [], "gone": 1}
    now = {
        "seed": 0,
        "loss": {"class_weights": [1.0], "weights": {"a": 2.0}},
        "list": [3],
        "optimizer": {"amsgrad": True},
    }
    text = "; ".join(differences(before, now))
    assert "seed" not in text
    for words in ("loss.weights.a was 1.0 and is now 2.0", "class_weights", "list", "gone was 1", "optimizer.amsgrad"):
        assert words in text
    assert differences(before, before) == []


def test_what_may_change() -> None:
    before: dict[str, Any] = {"trainer": {"epochs": 2, "device": "cpu"}, "data": {"num_workers": 0}, "resume": None}
    now: dict[str, Any] = {"trainer": {"epochs": 3, "device": "cuda"}, "data": {"num_workers": 4}, "resume": "run"}
    before["logger"], now["logger"] = {"mode": "online"}, {"mode": "offline", "tags": ["late"]}
    assert differences(before, now) == []


def test_places() -> None:
    origin = Origin({"model": "enet"}, frozenset({"optimizer.lr", "augmentation.transforms"}))
    assert origin.place("optimizer.lr") == "(on the command line)"
    assert origin.place("augmentation.transforms[0].p") == "(on the command line)"
    assert origin.place("model.dropout") == "(in conf/model/enet.yaml)"
    inherited = Origin({"model": "efficientdet_d0_seg"}, frozenset())
    assert inherited.place("model.compound") == "(in conf/model/efficientdet_d0_seg.yaml)"
    assert inherited.place("model.head") == "(in conf/model/efficientdet_d4_seg.yaml)"
    assert origin.place("seed") == "(in conf/train.yaml)"
